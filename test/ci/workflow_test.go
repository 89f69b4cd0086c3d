package ci_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/test/ci"
)

const repo = "../.."

func workflows(t *testing.T) []ci.Workflow {
	t.Helper()
	all, err := ci.Workflows(repo)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// writes are the permissions that jobs have beyond reading the repository: every
// other one is a mistake.
var writes = map[string]map[string]string{
	"images.yaml/try":      {"packages": "read"},
	"images.yaml/build":    {"packages": "write"},
	"images.yaml/join":     {"packages": "write", "id-token": "write"},
	"nightly.yaml/propose": {"contents": "write", "pull-requests": "write"},
	"rebuild.yaml/rebuild": {"packages": "read"},
	"release.yaml/sign":    {"id-token": "write"},
	"release.yaml/image":   {"packages": "write", "id-token": "write"},
	"release.yaml/publish": {"contents": "write"},
}

func TestJobsHaveTheRightsThatTheyNeed(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range workflows(t) {
		if !maps.Equal(w.Permissions, map[string]string{"contents": "read"}) {
			t.Errorf("%s: permissions are %v, want contents: read", w.File, w.Permissions)
		}
		if w.Concurrency.Group == "" {
			t.Errorf("%s: there is no concurrency group", w.File)
		}
		for name, job := range w.Jobs {
			key := w.File + "/" + name
			seen[key] = true
			if job.Timeout == 0 || job.Timeout > 120 {
				t.Errorf("%s: timeout-minutes is %d, want 1 to 120", key, job.Timeout)
			}
			want, special := writes[key]
			if !special {
				if job.Permissions != nil {
					t.Errorf("%s: has permissions %v of its own", key, job.Permissions)
				}
				continue
			}
			want = maps.Clone(want)
			if want["contents"] == "" {
				want["contents"] = "read"
			}
			if !maps.Equal(job.Permissions, want) {
				t.Errorf("%s: permissions are %v, want %v", key, job.Permissions, want)
			}
		}
	}
	for key := range writes {
		if !seen[key] {
			t.Errorf("there is no job %s", key)
		}
	}
}

// actions are those of others that are used, each by one commit.
var actions = map[string]string{
	"actions/checkout":          "de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2",
	"actions/setup-go":          "4a3601121dd01d1626a1e23e37211e3254c1c06c # v6.4.0",
	"actions/upload-artifact":   "043fb46d1a93c77aae656e7c1c64a875d1fc6a0a # v7.0.1",
	"actions/download-artifact": "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1",
	"actions/cache":             "668228422ae6a00e4ad889ee87cd7109ec5666a7 # v5.0.4",
}

var usesLine = regexp.MustCompile(`(?m)^\s*(?:- )?uses: *(.*)$`)

func TestActionsOfOthersArePinnedByCommit(t *testing.T) {
	a, err := ci.ReadAction(repo)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"action.yml": a.Text}
	for _, w := range workflows(t) {
		texts[w.File] = w.Text
	}
	used := map[string]bool{}
	for file, text := range texts {
		for _, m := range usesLine.FindAllStringSubmatch(text, -1) {
			name, pin, ok := strings.Cut(m[1], "@")
			if !ok || actions[name] != pin {
				t.Errorf("%s: uses: %s, want one of %v", file, m[1], actions)
			}
			used[name] = true
		}
	}
	for name, pin := range actions {
		if !used[name] {
			t.Errorf("%s is not used", name)
		}
		if !regexp.MustCompile(`^[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$`).MatchString(pin) {
			t.Errorf("%s is pinned to %q: want a whole commit, and its version", name, pin)
		}
	}
}

// What others can choose (a branch's name, a title, an input) reaches a shell by
// the environment alone.
func TestNothingIsInterpolatedIntoShell(t *testing.T) {
	a, err := ci.ReadAction(repo)
	if err != nil {
		t.Fatal(err)
	}
	check := func(where string, steps []ci.Step) {
		for _, s := range steps {
			if (s.Run == "") == (s.Uses == "") {
				t.Errorf("%s: a step has either run or uses: %+v", where, s)
			}
			if strings.Contains(s.Run, "${{") {
				t.Errorf("%s: an expression stands in a shell's line:\n%s", where, s.Run)
			}
		}
	}
	check("action.yml", a.Runs.Steps)
	for _, w := range workflows(t) {
		if strings.Contains(w.Text, "pull_request_target") {
			t.Errorf("%s: pull_request_target runs what strangers write with this repository's rights", w.File)
		}
		for name, job := range w.Jobs {
			check(w.File+"/"+name, job.Steps)
			for _, s := range job.Steps {
				// Only what pushes keeps the token on the disk.
				if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != "false" && w.File+"/"+name != "nightly.yaml/propose" {
					t.Errorf("%s/%s: checkout keeps its token: set persist-credentials: false", w.File, name)
				}
			}
		}
	}
}

// Files that workflows name are there, and may be run.
func TestWorkflowsNameFilesThatAreThere(t *testing.T) {
	script := regexp.MustCompile(`\bhack/[a-z-]+|\.ci/run|\brelease/[a-z]+\.yaml`)
	texts := []string{}
	a, err := ci.ReadAction(repo)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range a.Runs.Steps {
		texts = append(texts, s.Run)
	}
	for _, w := range workflows(t) {
		for _, job := range w.Jobs {
			for _, s := range job.Steps {
				texts = append(texts, s.Run)
			}
		}
	}
	var found []string
	for _, text := range texts {
		found = append(found, script.FindAllString(text, -1)...)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if len(found) < 6 {
		t.Fatalf("workflows name %v only", found)
	}
	for _, name := range found {
		st, err := os.Stat(filepath.Join(repo, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if filepath.Ext(name) == "" && !st.IsDir() && st.Mode()&0o111 == 0 {
			t.Errorf("%s can not be run", name)
		}
	}
}

//go:build e2e

package ci

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/test/ci"
)

// runner runs the jobs of a workflow, one after another.
type runner struct {
	*lab
	workflow ci.Workflow
	context  map[string]string // what expressions stand for
	ran      map[string]bool   // jobs
	step     int
}

func (l *lab) workflow(file string, context map[string]string) *runner {
	l.Helper()
	all, err := ci.Workflows(l.repo)
	if err != nil {
		l.Fatal(err)
	}
	for _, w := range all {
		if w.File == file {
			r := &runner{lab: l, workflow: w, context: map[string]string{
				"github.token": "token", "github.actor": "actor", "github.ref_name": "main", "github.repository": "etcdimg/etcdimg",
			}, ran: map[string]bool{}}
			maps.Copy(r.context, context)
			return r
		}
	}
	l.Fatalf("there is no workflow %s", file)
	return nil
}

var expression = regexp.MustCompile(`\$\{\{ *(.*?) *\}\}`)

// value is a text with its expressions replaced. The lab knows what each stands
// for, or the test fails.
func (r *runner) value(text string) string {
	r.Helper()
	return expression.ReplaceAllStringFunc(text, func(e string) string {
		name := expression.FindStringSubmatch(e)[1]
		v, ok := r.context[name]
		if !ok {
			r.Fatalf("%s: the test does not know %s", r.workflow.File, name)
		}
		return v
	})
}

// environ are variables, of the workflow, the job and the step, after what the
// test puts in their place.
func (r *runner) environment(job ci.Job, step ci.Step, instead map[string]string) map[string]string {
	env := map[string]string{}
	for _, from := range []map[string]string{r.workflow.Env, job.Env, step.Env} {
		for key, text := range from {
			if _, ok := instead[key]; ok {
				continue // it may have an expression that nobody knows
			}
			env[key] = r.value(text)
		}
	}
	maps.Copy(env, instead)
	return env
}

// job runs the steps of a job; instead are variables in the place of the
// workflow's: a registry that is here, say.
func (r *runner) job(name string, instead map[string]string) {
	r.Helper()
	job, ok := r.workflow.Jobs[name]
	if !ok {
		r.Fatalf("%s has no job %s", r.workflow.File, name)
	}
	r.ran[name] = true
	for _, s := range job.Steps {
		if s.If != "" {
			v, ok := r.context["if "+s.If]
			if !ok {
				r.Fatalf("%s/%s: the test does not know whether %s", r.workflow.File, name, s.If)
			}
			if v != "true" {
				continue
			}
		}
		uses, _, _ := strings.Cut(s.Uses, "@")
		switch uses {
		case "":
			r.run(name, job, s, instead)
		case "actions/checkout", "actions/setup-go":
		case "actions/upload-artifact":
			for path := range strings.Lines(s.With["path"]) {
				r.sh(`mkdir -p "$TO" && cp -r "$FROM" "$TO/"`, map[string]string{"FROM": strings.TrimSpace(path), "TO": filepath.Join(r.dir, "artifacts", r.value(s.With["name"]))})
			}
		case "actions/download-artifact":
			r.download(s)
		default:
			r.Fatalf("%s/%s: the test can not do what %s does", r.workflow.File, name, s.Uses)
		}
	}
}

// download does what actions/download-artifact does: of a name, into the path;
// of a pattern, merged into the path; of all, each into a folder below it. A
// single folder that was uploaded is there as its content.
func (r *runner) download(s ci.Step) {
	r.Helper()
	pattern := r.value(s.With["name"])
	if pattern == "" {
		pattern = s.With["pattern"]
	}
	merge := s.With["name"] != "" || s.With["merge-multiple"] == "true"
	if pattern == "" {
		pattern = "*"
	}
	found, err := filepath.Glob(filepath.Join(r.dir, "artifacts", pattern))
	if err != nil || len(found) == 0 {
		r.Fatalf("there is no artifact %s: %v", pattern, err)
	}
	for _, from := range found {
		to := s.With["path"]
		if !merge {
			to = filepath.Join(to, filepath.Base(from))
		}
		inside, err := os.ReadDir(from)
		if err != nil {
			r.Fatal(err)
		}
		if len(inside) == 1 && inside[0].IsDir() {
			from = filepath.Join(from, inside[0].Name())
		}
		r.sh(`mkdir -p "$TO" && cp -r "$FROM"/. "$TO/"`, map[string]string{"FROM": from, "TO": to})
	}
}

func (r *runner) run(name string, job ci.Job, s ci.Step, instead map[string]string) {
	r.Helper()
	env := r.environment(job, s, instead)
	r.step++
	outputs := filepath.Join(r.dir, "temp", fmt.Sprintf("output-%d", r.step))
	for variable, file := range map[string]string{"GITHUB_OUTPUT": outputs, "GITHUB_ENV": outputs + ".env", "GITHUB_PATH": outputs + ".path"} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			r.Fatal(err)
		}
		env[variable] = file
	}
	if out, err := r.try(s.Run, env); err != nil {
		r.Fatalf("%s/%s:\n%s\n%v\n%s", r.workflow.File, name, s.Run, err, out)
	}
	for key, value := range readOutputs(r.T, outputs) {
		r.context["steps."+s.ID+".outputs."+key] = value
		r.context["needs."+name+".outputs."+key] = value
	}
}

// readOutputs reads what a step said by $GITHUB_OUTPUT.
func readOutputs(t *testing.T, file string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	key, until := "", ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case until != "" && line == until:
			found[key], until = strings.TrimSuffix(found[key], "\n"), ""
		case until != "":
			found[key] += line + "\n"
		case strings.Contains(line, "<<"):
			key, until, _ = strings.Cut(line, "<<")
		default:
			k, v, ok := strings.Cut(line, "=")
			if !ok {
				t.Fatalf("%q is no output", line)
			}
			found[k] = v
		}
	}
	return found
}

// rows are those of a matrix in JSON.
func (r *runner) rows(matrix string) []map[string]string {
	r.Helper()
	var m struct{ Include []map[string]string }
	if err := json.Unmarshal([]byte(matrix), &m); err != nil {
		r.Fatalf("%v\n%s", err, matrix)
	}
	return m.Include
}

// each runs a job once for each row.
func (r *runner) each(name, matrix string, instead map[string]string) {
	r.Helper()
	rows := r.rows(matrix)
	if len(rows) == 0 {
		r.Fatalf("%s: the matrix is empty: %s", name, matrix)
	}
	for _, row := range rows {
		for key, value := range row {
			r.context["matrix."+key] = value
		}
		r.job(name, instead)
	}
}

// all fails where a job was left out, unless it is named.
func (r *runner) all(without ...string) {
	r.Helper()
	for name := range r.workflow.Jobs {
		if !r.ran[name] && !strings.Contains(" "+strings.Join(without, " ")+" ", " "+name+" ") {
			r.Errorf("%s/%s did not run", r.workflow.File, name)
		}
	}
}

// identities gives out a token as GitHub does.
func identities(l *lab) map[string]string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "bearer request" || r.URL.Query().Get("audience") != "sigstore" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"count":1,"value":"a.b.c"}`)
	}))
	l.Cleanup(s.Close)
	return map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": s.URL + "/token?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request"}
}

// here are the registry of the lab in the place of GitHub's, and its identities.
func (l *lab) here() map[string]string {
	env := identities(l)
	maps.Copy(env, map[string]string{
		"REGISTRY": l.registry.Host, "REPOSITORY": l.registry.Host + "/etcdimg", "IMAGE": l.registry.Host + "/etcdimg", "ETCDIMG_CACHE_REPO": l.registry.Host + "/cache",
	})
	return env
}

// The whole way: planned, tried, built on one machine for each architecture,
// joined, signed; then verified and built again.
func TestImagesWorkflow(t *testing.T) {
	l := newLab(t)
	here := l.here()
	l.sh("etcdimg lock configs/hardened.yaml -q && git add -A && git -c user.name=t -c user.email=t@example.org commit -qm lock", nil)
	r := l.workflow("images.yaml", map[string]string{"github.event.pull_request.base.sha || github.event.before || '0'": "0"})
	r.job("plan", here)
	images, indexes := r.context["steps.plan.outputs.images"], r.context["steps.plan.outputs.indexes"]
	if rows := r.rows(images); len(rows) != len(archs) || rows[1]["runner"] != "ubuntu-24.04-arm" {
		t.Fatalf("the plan is %s", images)
	}
	r.each("try", images, here)
	l.sh("rm -rf ../cache", nil) // another machine
	r.each("build", images, here)
	r.each("join", indexes, here)
	r.all()
	if !strings.Contains(l.said(), "--by-digest") || !strings.Contains(l.said(), "smoke etcd.tar arm64") {
		t.Errorf("said:\n%s", l.said())
	}
	// What was joined is what one machine builds.
	one := l.sh("etcdimg build configs/hardened.yaml -q --output json -o ../one | jq -r .digest", nil)
	if out := l.sh(`etcdimg verify "$REPOSITORY/hardened:3.6.99-0" --key cosign.pub --attestation slsaprovenance1`, here); !strings.Contains(out, strings.TrimSpace(one)) {
		t.Errorf("one machine builds %s, and the joined image is\n%s", one, out)
	}
	b := l.workflow("rebuild.yaml", nil)
	b.job("plan", here)
	b.each("rebuild", b.context["steps.plan.outputs.indexes"], here)
	b.all()
	// Nothing changed: nothing is planned.
	r.context["github.event.pull_request.base.sha || github.event.before || '0'"] = "HEAD"
	r.job("plan", here)
	if got := r.context["steps.plan.outputs.images"]; got != `{"include":[]}` || !strings.Contains(r.workflow.Text, "'"+got+"'") {
		t.Errorf("without a change the plan is %s, which the jobs have to ask for", got)
	}
}

// Newer inputs are found at night, and proposed once.
func TestNightlyWorkflow(t *testing.T) {
	l := newLab(t)
	r := l.workflow("nightly.yaml", map[string]string{"if steps.lock.outputs.newer == 'yes'": "true"})
	r.job("lock", nil)
	if got := r.context["steps.lock.outputs.newer"]; got != "yes" {
		t.Fatalf("without a lock newer is %q", got)
	}
	l.sh("git reset -q --hard && git clean -qfd -e bin -e cosign.key -e cosign.pub", nil) // another machine
	r.job("propose", nil)
	r.all()
	if said := l.said(); !strings.Contains(said, "gh pr create --head update-locks --base main") {
		t.Errorf("said:\n%s", said)
	}
	if got := l.sh("git -C ../origin show update-locks:configs/hardened.lock.json", nil); !strings.Contains(got, "3.6.99") {
		t.Errorf("the branch has the lock\n%s", got)
	}
	// The next night there is nothing new.
	l.sh("git clean -qfd -e bin && git checkout -q main && git merge -q update-locks", nil)
	r.context["if steps.lock.outputs.newer == 'yes'"] = "false"
	r.job("lock", nil)
	if got := r.context["steps.lock.outputs.newer"]; got != "no" {
		t.Errorf("with a new lock newer is %q", got)
	}
	// And one that has a newer package renews the pull request that is open.
	l.write("open", "7\n")
	l.sh(`mkdir -p newer/changes/configs && sed 's/20250419/20250420/' configs/hardened.lock.json > newer/changes/configs/hardened.lock.json && echo moved > newer/changes.md && hack/propose-locks newer main`, nil)
	if said := l.said(); !strings.Contains(said, "gh pr edit update-locks --body-file newer/changes.md") {
		t.Errorf("said:\n%s", said)
	}
}

// A release that both machines made alike is signed and published; one that they
// made differently is not.
func TestReleaseWorkflow(t *testing.T) {
	l := newLab(t)
	l.compile("release", "./hack/release")
	l.program("release", fmt.Sprintf(wrapper, "release"))
	here := l.here()
	r := l.workflow("release.yaml", map[string]string{"github.ref_name": "v0.1.0"})
	l.sh(`mkdir -p dist/release && cp ../etcdimg dist/release/etcdimg-linux-amd64 && echo '{}' > dist/release/etcdimg.provenance.slsa.json && cd dist/release && sha256sum * > SHA256SUMS`, nil)
	for _, runner := range []string{"ubuntu-24.04", "ubuntu-24.04-arm"} {
		r.context["matrix.runner"] = runner
		r.job("make", nil)
	}
	if said := l.said(); !strings.Contains(said, "make release VERSION=v0.1.0") {
		t.Errorf("said:\n%s", said)
	}
	l.program("go", "#!/bin/sh\necho \"go $*\" >> \"$LAB/said\"\nmkdir -p bin && cp \"$LAB/bin/release\" bin/release\n")
	r.job("sign", here)
	if out, err := l.try("ls made/release-ubuntu-24.04/SHA256SUMS.sig made/release-ubuntu-24.04/etcdimg.provenance.sigstore.json", nil); err != nil {
		t.Errorf("not signed: %s", out)
	}
	r.job("publish", nil)
	r.all("image")
	if said := l.said(); !strings.Contains(said, "gh release create v0.1.0 --verify-tag") {
		t.Errorf("said:\n%s", said)
	}
	l.write("artifacts/release-ubuntu-24.04-arm/release/SHA256SUMS", "other\n")
	for _, s := range r.workflow.Jobs["sign"].Steps {
		if strings.HasPrefix(s.Run, "cmp ") {
			l.sh("rm -rf made && cp -r ../artifacts made && for d in made/release-*; do cp -r $d/release/. $d; done", nil)
			if out, err := l.try(s.Run, nil); err == nil {
				t.Errorf("releases that differ are the same: %s", out)
			}
		}
	}
}

// What tests themselves are started by is looked at, and not run again.
func TestCIWorkflow(t *testing.T) {
	l := newLab(t)
	r := l.workflow("ci.yaml", nil)
	r.job("lint", nil)
	r.job("test", nil)
	r.all()
	if said := l.said(); !strings.Contains(said, "make lint\n") || !strings.Contains(said, ".ci/run\n") {
		t.Errorf("said:\n%s", said)
	}
}

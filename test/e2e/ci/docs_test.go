//go:build e2e

package ci

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/etcdimg/etcdimg/test/ci"
)

// The action installs etcdimg, runs it, and says the digest.
func TestAction(t *testing.T) {
	l := newLab(t)
	a, err := ci.ReadAction(l.repo)
	if err != nil {
		t.Fatal(err)
	}
	// What go would compile for the action, the lab has compiled.
	compiler, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	l.program("go", fmt.Sprintf(`#!/usr/bin/env bash
set -euo pipefail
case "$*" in
*./cmd/etcdimg) while [ "$1" != -o ]; do shift; done; cp "%s/bin/etcdimg" "$2" ;;
*) exec %s "$@" ;;
esac
`, l.dir, compiler))
	for i, inputs := range []map[string]string{
		{"inputs.command": "build", "inputs.profile": "configs/hardened.yaml", "inputs.args": "--quiet --arch amd64", "inputs.version": ""},
		{"inputs.command": "publish", "inputs.profile": "configs/hardened.yaml", "inputs.args": l.registry.Host + "/etcd --arch amd64", "inputs.version": ""},
	} {
		r := &runner{lab: l, workflow: ci.Workflow{File: "action.yml"}, context: inputs, ran: map[string]bool{}, step: 100 * i}
		for _, s := range a.Runs.Steps {
			if s.Run != "" {
				r.run("action", ci.Job{}, s, map[string]string{"GITHUB_ACTION_PATH": l.checkout})
			}
		}
		digest := r.context["steps.run.outputs.digest"]
		if !strings.HasPrefix(digest, "sha256:") || len(strings.Fields(digest)) < 1 {
			t.Errorf("%s: the digest is %q", inputs["inputs.command"], digest)
		}
	}
}

// shell is a container's lines with its variables.
type shell struct {
	lines string
	env   map[string]string
	args  []string
}

// containers are those of a file for Kubernetes or Tekton.
func (l *lab) containers(file string) []shell {
	l.Helper()
	documents, err := ci.Documents(filepath.Join(l.repo, file))
	if err != nil {
		l.Fatal(err)
	}
	type container struct {
		Script string   `yaml:"script"`
		Args   []string `yaml:"args"`
		Env    []struct {
			Name  string `yaml:"name"`
			Value string `yaml:"value"`
		} `yaml:"env"`
	}
	var all []shell
	for _, text := range documents {
		var d struct {
			Spec struct {
				Steps    []container `yaml:"steps"`
				Template struct {
					Spec struct {
						Containers []container `yaml:"containers"`
					} `yaml:"spec"`
				} `yaml:"template"`
			} `yaml:"spec"`
		}
		if err := yaml.Unmarshal([]byte(text), &d); err != nil {
			l.Fatal(err)
		}
		for _, c := range append(d.Spec.Steps, d.Spec.Template.Spec.Containers...) {
			s := shell{lines: c.Script, env: map[string]string{}, args: c.Args}
			if s.lines == "" {
				s.lines, s.args = "set -eu\n"+c.Args[0], nil
			}
			for _, e := range c.Env {
				if e.Value != "" && e.Name != "HOME" && e.Name != "DOCKER_CONFIG" {
					s.env[e.Name] = e.Value
				}
			}
			all = append(all, s)
		}
	}
	return all
}

// start runs lines as a container does, with a secret's key where it is mounted
// in the lab.
func (l *lab) start(s shell, instead map[string]string, args ...string) string {
	l.Helper()
	l.write("lines", strings.NewReplacer("/key/cosign.key", filepath.Join(l.checkout, "cosign.key")).Replace(s.lines))
	env := maps.Clone(s.env)
	maps.Copy(env, instead)
	return l.sh(`exec sh "$LAB/lines" `+strings.Join(args, " "), env)
}

// locked locks the profile, and commits the lock.
func (l *lab) locked() {
	l.Helper()
	l.sh("etcdimg lock configs/hardened.yaml -q && git add -A && git -c user.name=t -c user.email=t@example.org commit -qm lock && git push -q origin main", nil)
}

func TestKubernetesLines(t *testing.T) {
	l := newLab(t)
	l.locked()
	jobs := l.containers("docs/ci/kubernetes/job.yaml")
	here := map[string]string{
		"PROFILE": "configs/hardened.yaml", "ARCHS": strings.Join(archs, " "), "TAG": "k8s",
		"REPOSITORY": l.registry.Host + "/etcd", "ETCDIMG_CACHE_REPO": l.registry.Host + "/cache",
	}
	for i := range archs {
		here["JOB_COMPLETION_INDEX"] = fmt.Sprint(i)
		if out := l.start(jobs[0], here); !strings.Contains(out, l.registry.Host+"/etcd@sha256:") {
			t.Errorf("pod %d says %s", i, out)
		}
	}
	if out := l.start(jobs[1], here); !strings.Contains(out, "k8s") {
		t.Errorf("the index is %s", out)
	}
	l.sh(`etcdimg verify "$REPOSITORY:k8s" --key cosign.pub`, here)
}

func TestTektonLines(t *testing.T) {
	l := newLab(t)
	l.locked()
	tasks := l.containers("docs/ci/tekton/etcdimg.yaml")
	var digests []string
	for _, arch := range archs {
		l.sh("rm -rf source", nil)
		l.start(tasks[0], map[string]string{
			"URL": filepath.Join(l.dir, "origin"), "REVISION": "origin/main", "PROFILE": "configs/hardened.yaml", "ARCH": arch,
			"REPOSITORY": l.registry.Host + "/etcd", "ETCDIMG_CACHE_REPO": l.registry.Host + "/cache", "RESULT": filepath.Join(l.dir, "digest"),
		})
		digest := l.read("digest")
		if !strings.HasPrefix(digest, l.registry.Host+"/etcd@sha256:") || strings.ContainsAny(digest, " \n") {
			t.Errorf("the result is %q", digest)
		}
		digests = append(digests, digest)
	}
	image := l.registry.Host + "/etcd:tekton"
	l.start(tasks[1], map[string]string{"IMAGE": image, "RESULT": filepath.Join(l.dir, "index")}, digests...)
	if got := l.read("index"); !strings.HasPrefix(got, l.registry.Host+"/etcd@sha256:") || strings.ContainsAny(got, " \n") {
		t.Errorf("the result is %q", got)
	}
	l.sh(`etcdimg verify "$IMAGE" --key cosign.pub`, map[string]string{"IMAGE": image})
}

// The main pipeline plans, its child builds, and the main one joins, with its
// identity.
func TestGitLabLines(t *testing.T) {
	l := newLab(t)
	l.locked()
	type job struct {
		Script []string `yaml:"script"`
	}
	jobs := func(name string) map[string]job {
		text := l.read("checkout/docs/ci/gitlab/" + name)
		all := map[string]job{}
		var nodes map[string]yaml.Node
		if err := yaml.Unmarshal([]byte(text), &nodes); err != nil {
			t.Fatal(err)
		}
		for name, node := range nodes {
			var j job
			if node.Decode(&j) == nil && len(j.Script) > 0 {
				all[name] = j
			}
		}
		return all
	}
	env := map[string]string{
		"CI_REGISTRY_IMAGE": l.registry.Host + "/project", "CI_COMMIT_SHA": strings.Repeat("c", 40), "CI_COMMIT_BEFORE_SHA": strings.Repeat("0", 40),
		"ETCDIMG_CACHE_REPO": l.registry.Host + "/cache", "SIGSTORE_ID_TOKEN": "a.b.c", "FULCIO": "https://fulcio.example", "REKOR": "https://rekor.example", "TIMESTAMPS": "https://tsa.example",
	}
	run := func(j job, more map[string]string) {
		t.Helper()
		all := maps.Clone(env)
		maps.Copy(all, more)
		l.sh(strings.Join(j.Script, "\n"), all)
	}
	main, child := jobs(".gitlab-ci.yml"), jobs("images.yml")
	run(main["plan"], nil)
	var hidden map[string]struct {
		Parallel struct {
			Matrix []map[string]string `yaml:"matrix"`
		} `yaml:"parallel"`
	}
	if err := yaml.Unmarshal([]byte(l.read("checkout/matrix.yml")), &hidden); err != nil {
		t.Fatal(err)
	}
	rows := hidden[".etcdimg-matrix"].Parallel.Matrix
	if len(rows) != len(archs) {
		t.Fatalf("the matrix is %v", hidden)
	}
	for _, row := range rows {
		run(child["build"], row)
	}
	run(main["join"], nil)
	l.sh(`etcdimg verify "$CI_REGISTRY_IMAGE/hardened:3.6.99-0" --key cosign.pub`, env)
}

package ci_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/etcdimg/etcdimg/test/ci"
)

// The types are those parts of the published ones that the files use. A key that
// they lack is a mistake, or has to be thought about.

type meta struct {
	Name string `json:"name"`
}

type environment struct {
	Name      string `json:"name"`
	Value     string `json:"value,omitempty"`
	ValueFrom *struct {
		SecretKeyRef struct {
			Name string `json:"name"`
			Key  string `json:"key"`
		} `json:"secretKeyRef"`
	} `json:"valueFrom,omitempty"`
}

type mount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
}

type volume struct {
	Name   string `json:"name"`
	Secret *struct {
		SecretName string `json:"secretName"`
		Items      []struct {
			Key  string `json:"key"`
			Path string `json:"path"`
		} `json:"items,omitempty"`
	} `json:"secret,omitempty"`
	ConfigMap *meta     `json:"configMap,omitempty"`
	EmptyDir  *struct{} `json:"emptyDir,omitempty"`
}

type confinement struct {
	RunAsNonRoot             *bool  `json:"runAsNonRoot,omitempty"`
	RunAsUser                *int64 `json:"runAsUser,omitempty"`
	FSGroup                  *int64 `json:"fsGroup,omitempty"`
	AllowPrivilegeEscalation *bool  `json:"allowPrivilegeEscalation,omitempty"`
	Capabilities             *struct {
		Drop []string `json:"drop"`
	} `json:"capabilities,omitempty"`
	SeccompProfile *struct {
		Type string `json:"type"`
	} `json:"seccompProfile,omitempty"`
}

// container is a pod's, or a step of a task.
type container struct {
	Name            string       `json:"name"`
	Image           string       `json:"image"`
	WorkingDir      string       `json:"workingDir,omitempty"`
	SecurityContext *confinement `json:"securityContext,omitempty"`
	Resources       *struct {
		Requests map[string]string `json:"requests"`
	} `json:"resources,omitempty"`
	Env          []environment `json:"env,omitempty"`
	VolumeMounts []mount       `json:"volumeMounts,omitempty"`
	Command      []string      `json:"command,omitempty"`
	Args         []string      `json:"args,omitempty"`
	Script       string        `json:"script,omitempty"`
}

// batch/v1.
type job struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   meta   `json:"metadata"`
	Spec       struct {
		CompletionMode          string `json:"completionMode,omitempty"`
		Completions             int    `json:"completions,omitempty"`
		Parallelism             int    `json:"parallelism,omitempty"`
		BackoffLimit            *int   `json:"backoffLimit,omitempty"`
		BackoffLimitPerIndex    *int   `json:"backoffLimitPerIndex,omitempty"`
		TTLSecondsAfterFinished *int   `json:"ttlSecondsAfterFinished,omitempty"`
		Template                struct {
			Spec struct {
				RestartPolicy                string       `json:"restartPolicy"`
				AutomountServiceAccountToken *bool        `json:"automountServiceAccountToken,omitempty"`
				SecurityContext              *confinement `json:"securityContext,omitempty"`
				Containers                   []container  `json:"containers"`
				Volumes                      []volume     `json:"volumes,omitempty"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

type parameter struct {
	Name        string `json:"name"`
	Type        string `json:"type,omitempty"`
	Default     string `json:"default,omitempty"`
	Description string `json:"description,omitempty"`
	Value       any    `json:"value,omitempty"`
}

// tekton.dev/v1.
type task struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   meta   `json:"metadata"`
	Spec       struct {
		Description string      `json:"description,omitempty"`
		Params      []parameter `json:"params"`
		Results     []parameter `json:"results"`
		Volumes     []volume    `json:"volumes"`
		Steps       []container `json:"steps"`
	} `json:"spec"`
}

type pipeline struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   meta   `json:"metadata"`
	Spec       struct {
		Description string      `json:"description,omitempty"`
		Params      []parameter `json:"params"`
		Results     []parameter `json:"results"`
		Tasks       []struct {
			Name    string      `json:"name"`
			TaskRef meta        `json:"taskRef"`
			Params  []parameter `json:"params"`
			Matrix  *struct {
				Params []parameter `json:"params"`
			} `json:"matrix,omitempty"`
		} `json:"tasks"`
	} `json:"spec"`
}

var (
	imageForm = regexp.MustCompile(`^[a-z0-9./-]+:v[0-9]+\.[0-9]+\.[0-9]+$`)
	nameForm  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
)

// checkContainer holds a container against its volumes, and against what a
// careful cluster admits ("restricted" of the Pod Security Standards).
func checkContainer(t *testing.T, where string, c container, pod *confinement, volumes []volume) {
	t.Helper()
	if !nameForm.MatchString(c.Name) || !imageForm.MatchString(c.Image) {
		t.Errorf("%s: name %q, image %q: want a version, not a moving tag", where, c.Name, c.Image)
	}
	var used []string
	for _, m := range c.VolumeMounts {
		if !slices.ContainsFunc(volumes, func(v volume) bool { return v.Name == m.Name }) || !filepath.IsAbs(m.MountPath) {
			t.Errorf("%s: mounts %s at %q", where, m.Name, m.MountPath)
		}
		used = append(used, m.Name)
	}
	for _, v := range volumes {
		kinds := 0
		for _, is := range []bool{v.Secret != nil, v.ConfigMap != nil, v.EmptyDir != nil} {
			if is {
				kinds++
			}
		}
		if kinds != 1 || !slices.Contains(used, v.Name) {
			t.Errorf("%s: the volume %s is of %d kinds, or not mounted", where, v.Name, kinds)
		}
	}
	s := c.SecurityContext
	nonRoot := s != nil && s.RunAsNonRoot != nil && *s.RunAsNonRoot || pod != nil && pod.RunAsNonRoot != nil && *pod.RunAsNonRoot
	seccomp := s != nil && s.SeccompProfile != nil || pod != nil && pod.SeccompProfile != nil
	if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) || !nonRoot || !seccomp {
		t.Errorf("%s: it is not confined as the restricted Pod Security Standard wants it", where)
	}
}

func TestKubernetesJobs(t *testing.T) {
	documents, err := ci.Documents(filepath.Join(repo, "docs", "ci", "kubernetes", "job.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(documents) != 2 {
		t.Fatalf("%d documents, want 2", len(documents))
	}
	for _, text := range documents {
		var j job
		if err := k8syaml.UnmarshalStrict([]byte(text), &j); err != nil {
			t.Fatal(err)
		}
		pod := j.Spec.Template.Spec
		if j.APIVersion != "batch/v1" || j.Kind != "Job" || !nameForm.MatchString(j.Metadata.Name) || pod.RestartPolicy != "Never" || len(pod.Containers) != 1 {
			t.Errorf("%s is no job: %+v", j.Metadata.Name, j)
		}
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
			t.Errorf("%s: the pod has the cluster's token", j.Metadata.Name)
		}
		c := pod.Containers[0]
		checkContainer(t, j.Metadata.Name, c, pod.SecurityContext, pod.Volumes)
		for _, e := range c.Env {
			if e.Name == "ARCHS" && j.Spec.CompletionMode == "Indexed" && len(strings.Fields(e.Value)) != j.Spec.Completions {
				t.Errorf("%s: %d completions for %s", j.Metadata.Name, j.Spec.Completions, e.Value)
			}
		}
		if j.Spec.CompletionMode == "Indexed" && (j.Spec.BackoffLimitPerIndex == nil || j.Spec.Parallelism == 0) {
			t.Errorf("%s: an indexed job has a limit for each index", j.Metadata.Name)
		}
	}
}

var reference = regexp.MustCompile(`\$\((params|results|tasks)\.([a-z.-]+)(\[\*\])?\)`)

func TestTekton(t *testing.T) {
	documents, err := ci.Documents(filepath.Join(repo, "docs", "ci", "tekton", "etcdimg.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tasks := map[string]task{}
	for _, text := range documents[:len(documents)-1] {
		var k task
		if err := k8syaml.UnmarshalStrict([]byte(text), &k); err != nil {
			t.Fatal(err)
		}
		if k.APIVersion != "tekton.dev/v1" || k.Kind != "Task" || len(k.Spec.Steps) == 0 {
			t.Errorf("%s is no task", k.Metadata.Name)
		}
		tasks[k.Metadata.Name] = k
		declared := map[string]bool{}
		for _, p := range k.Spec.Params {
			if p.Type != "string" && p.Type != "array" {
				t.Errorf("%s: parameter %s has the type %q", k.Metadata.Name, p.Name, p.Type)
			}
			declared["params."+p.Name] = true
		}
		for _, r := range k.Spec.Results {
			declared["results."+r.Name+".path"] = true
		}
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			if !declared[m[1]+"."+m[2]] {
				t.Errorf("%s: %s is not declared", k.Metadata.Name, m[0])
			}
		}
		for name := range declared {
			if !strings.Contains(text, "$("+name) {
				t.Errorf("%s: %s is never used", k.Metadata.Name, name)
			}
		}
		for _, s := range k.Spec.Steps {
			checkContainer(t, k.Metadata.Name, s, nil, k.Spec.Volumes)
			// Parameters are text of others: a script has them in variables.
			if strings.Contains(s.Script, "$(params") || !strings.HasPrefix(s.Script, "#!/bin/sh\nset -eu\n") {
				t.Errorf("%s: the script is\n%s", k.Metadata.Name, s.Script)
			}
		}
	}
	var p pipeline
	if err := k8syaml.UnmarshalStrict([]byte(documents[len(documents)-1]), &p); err != nil {
		t.Fatal(err)
	}
	if p.APIVersion != "tekton.dev/v1" || p.Kind != "Pipeline" || len(p.Spec.Tasks) != len(tasks) {
		t.Errorf("%s is no pipeline of %d tasks", p.Metadata.Name, len(tasks))
	}
	known := map[string]bool{}
	for _, param := range p.Spec.Params {
		known["params."+param.Name] = true
	}
	for _, k := range p.Spec.Tasks {
		want := tasks[k.TaskRef.Name]
		given := []string{}
		for _, param := range k.Params {
			given = append(given, param.Name)
		}
		if k.Matrix != nil {
			for _, param := range k.Matrix.Params {
				given = append(given, param.Name)
			}
		}
		wanted := []string{}
		for _, param := range want.Spec.Params {
			wanted = append(wanted, param.Name)
		}
		slices.Sort(given)
		slices.Sort(wanted)
		if !slices.Equal(given, wanted) {
			t.Errorf("the pipeline gives %s %v, which takes %v", k.TaskRef.Name, given, wanted)
		}
		for _, r := range want.Spec.Results {
			known["tasks."+k.Name+".results."+r.Name] = true
		}
	}
	for _, m := range reference.FindAllStringSubmatch(documents[len(documents)-1], -1) {
		if !known[m[1]+"."+m[2]] {
			t.Errorf("the pipeline names %s, which nothing gives", m[0])
		}
	}
}

// gitlabJob is a job of a .gitlab-ci.yml, as far as the files use the form.
type gitlabJob struct {
	Stage     string            `yaml:"stage"`
	Extends   string            `yaml:"extends"`
	Needs     yaml.Node         `yaml:"needs"`
	Variables map[string]string `yaml:"variables"`
	IDTokens  map[string]struct {
		Aud string `yaml:"aud"`
	} `yaml:"id_tokens"`
	Script  []string `yaml:"script"`
	Trigger *struct {
		Include []struct {
			Artifact string `yaml:"artifact"`
			Job      string `yaml:"job"`
			Local    string `yaml:"local"`
		} `yaml:"include"`
		Strategy string `yaml:"strategy"`
	} `yaml:"trigger"`
	Artifacts struct {
		Paths    []string `yaml:"paths"`
		ExpireIn string   `yaml:"expire_in"`
	} `yaml:"artifacts"`
}

type gitlabFile struct {
	Stages    []string          `yaml:"stages"`
	Variables map[string]string `yaml:"variables"`
	Default   struct {
		Image        string   `yaml:"image"`
		BeforeScript []string `yaml:"before_script"`
	} `yaml:"default"`
	Workflow struct {
		Rules []struct {
			If string `yaml:"if"`
		} `yaml:"rules"`
	} `yaml:"workflow"`
	Jobs map[string]gitlabJob `yaml:",inline"`
}

func TestGitLab(t *testing.T) {
	for _, name := range []string{".gitlab-ci.yml", "images.yml"} {
		b, err := os.ReadFile(filepath.Join(repo, "docs", "ci", "gitlab", name))
		if err != nil {
			t.Fatal(err)
		}
		var f gitlabFile
		d := yaml.NewDecoder(strings.NewReader(string(b)))
		d.KnownFields(true)
		if err := d.Decode(&f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(f.Jobs) == 0 || f.Default.Image == "" {
			t.Errorf("%s: %d jobs on %q", name, len(f.Jobs), f.Default.Image)
		}
		for job, j := range f.Jobs {
			if !slices.Contains(f.Stages, j.Stage) {
				t.Errorf("%s: %s is of stage %q, of %v", name, job, j.Stage, f.Stages)
			}
			if (len(j.Script) == 0) == (j.Trigger == nil) {
				t.Errorf("%s: %s has either a script or a trigger", name, job)
			}
			if j.Trigger != nil {
				for _, in := range j.Trigger.Include {
					if made := f.Jobs[in.Job].Artifacts.Paths; in.Artifact != "" && !slices.Contains(made, in.Artifact) {
						t.Errorf("%s: %s includes %s, and %s makes %v", name, job, in.Artifact, in.Job, made)
					}
				}
			}
			// Fulcio refuses tokens of a child pipeline.
			if len(j.IDTokens) > 0 && name != ".gitlab-ci.yml" {
				t.Errorf("%s: %s asks for an identity token", name, job)
			}
		}
	}
}

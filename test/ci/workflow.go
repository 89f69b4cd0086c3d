package ci

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Workflow is a workflow file of GitHub Actions, as far as this repository uses
// the form: a key that is not here is a mistake, or has to be thought about.
type Workflow struct {
	File        string            `yaml:"-"`
	Text        string            `yaml:"-"`
	Name        string            `yaml:"name"`
	On          yaml.Node         `yaml:"on"`
	Permissions map[string]string `yaml:"permissions"`
	Concurrency struct {
		Group            string    `yaml:"group"`
		CancelInProgress yaml.Node `yaml:"cancel-in-progress"`
	} `yaml:"concurrency"`
	Env  map[string]string `yaml:"env"`
	Jobs map[string]Job    `yaml:"jobs"`
}

// Job is a job of a workflow.
type Job struct {
	Needs       yaml.Node         `yaml:"needs"`
	If          string            `yaml:"if"`
	RunsOn      string            `yaml:"runs-on"`
	Timeout     int               `yaml:"timeout-minutes"`
	Permissions map[string]string `yaml:"permissions"`
	Outputs     map[string]string `yaml:"outputs"`
	Strategy    struct {
		FailFast *bool     `yaml:"fail-fast"`
		Matrix   yaml.Node `yaml:"matrix"`
	} `yaml:"strategy"`
	Env   map[string]string `yaml:"env"`
	Steps []Step            `yaml:"steps"`
}

// Step is a step of a job or of an action.
type Step struct {
	ID    string            `yaml:"id"`
	If    string            `yaml:"if"`
	Uses  string            `yaml:"uses"`
	With  map[string]string `yaml:"with"`
	Shell string            `yaml:"shell"`
	Env   map[string]string `yaml:"env"`
	Run   string            `yaml:"run"`
}

// Action is a composite action.
type Action struct {
	Text        string `yaml:"-"`
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Author      string `yaml:"author"`
	Inputs      map[string]struct {
		Description string `yaml:"description"`
		Default     string `yaml:"default"`
	} `yaml:"inputs"`
	Outputs map[string]struct {
		Description string `yaml:"description"`
		Value       string `yaml:"value"`
	} `yaml:"outputs"`
	Runs struct {
		Using string `yaml:"using"`
		Steps []Step `yaml:"steps"`
	} `yaml:"runs"`
}

// Workflows reads all workflows of the checkout at repo.
func Workflows(repo string) ([]Workflow, error) {
	files, err := filepath.Glob(filepath.Join(repo, ".github", "workflows", "*.y*ml"))
	if err != nil {
		return nil, err
	}
	var all []Workflow
	for _, file := range files {
		w := Workflow{File: filepath.Base(file)}
		if w.Text, err = read(file, &w); err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no workflow", repo)
	}
	return all, nil
}

// ReadAction reads the action of the checkout at repo.
func ReadAction(repo string) (Action, error) {
	var a Action
	text, err := read(filepath.Join(repo, "action.yml"), &a)
	a.Text = text
	return a, err
}

// read reads one document of YAML that may have no other keys than v.
func read(file string, v any) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(v); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return string(b), nil
}

// Documents are the parts of a file of many YAML documents.
func Documents(file string) ([]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return strings.Split(string(b), "\n---\n"), nil
}

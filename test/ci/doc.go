// Package ci holds what people copy, and what this repository runs, to strict
// forms: the workflows and the action for GitHub (.github/workflows, action.yml),
// and docs/ci's files for GitLab, Tekton and Kubernetes. It reads them as
// programs do; test/e2e runs their commands. It must not know how images are
// built.
package ci

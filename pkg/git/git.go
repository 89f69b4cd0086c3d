// Package git asks the git command about the working copy that it is in: which
// files differ from a revision, and which are tracked at all.
//
// It must not know what the files are for. It changes nothing, and reads none
// of the repository's configuration but what git itself does.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Repository is a working copy.
type Repository struct {
	top string // its root, absolute, without symbolic links
}

// Open finds the working copy that a directory lies in; "" is the working
// directory.
func Open(ctx context.Context, dir string) (*Repository, error) {
	out, err := run(ctx, dir, "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, fmt.Errorf("looking for the git repository: %w", err)
	}
	top, err := filepath.EvalSymlinks(strings.TrimSuffix(string(out), "\n"))
	if err != nil {
		return nil, fmt.Errorf("looking for the git repository: %w", err)
	}
	return &Repository{top}, nil
}

// Top is the root of the working copy: absolute, without symbolic links.
func (r *Repository) Top() string { return r.top }

// Changed are the files whose content, mode or kind in the working copy is
// another than in a revision, those that only one of the two has included:
// paths below Top, with slashes. Files that git does not track are not among
// them. A submodule is one path.
func (r *Repository) Changed(ctx context.Context, revision string) ([]string, error) {
	out, err := run(ctx, r.top, "rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return nil, fmt.Errorf("revision %q: git does not have it: in a shallow clone, fetch more (git fetch --unshallow; actions/checkout: fetch-depth: 0): %w", revision, err)
	}
	commit := strings.TrimSpace(string(out))
	out, err = run(ctx, r.top, "diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-relative", "--ignore-submodules=none", commit, "--")
	if err != nil {
		return nil, fmt.Errorf("comparing with revision %q: %w", revision, err)
	}
	return names(out), nil
}

// Tracked are all files that git tracks: paths below Top, with slashes.
func (r *Repository) Tracked(ctx context.Context) ([]string, error) {
	out, err := run(ctx, r.top, "ls-files", "-z", "--full-name")
	if err != nil {
		return nil, fmt.Errorf("listing what git tracks: %w", err)
	}
	return names(out), nil
}

func names(out []byte) []string {
	var all []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if name != "" {
			all = append(all, name)
		}
	}
	return all
}

// run runs git in a directory. An error has what git said.
func run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	switch said := strings.TrimSpace(stderr.String()); {
	case err == nil:
		return stdout.Bytes(), nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("git is not installed: %w", err)
	case said != "":
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, said)
	}
	return nil, fmt.Errorf("git %s: %w", args[0], err)
}

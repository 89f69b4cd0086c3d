package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// lockTarget is what lock --check and diff may take with full caches.
const lockTarget = 300 * time.Millisecond

// locks measures lock --check of a profile that did not change, and diff of two
// images.
func (b *workbench) locks(ctx context.Context, runs int) ([]row, error) {
	fmt.Fprintln(os.Stderr, "measuring locks")
	command := func(args ...string) *process {
		return &process{argv: append([]string{b.etcdimg}, args...), dir: b.root, env: map[string]string{"ETCDIMG_CACHE": b.cache()}}
	}
	include := "include: " + filepath.Join(b.repo, profilePath) + "\n"
	for name, text := range map[string]string{"one": include, "other": include + "paths: [{path: /other, type: directory}, {path: /var/lib/etcd, type: directory, uid: 65532, gid: 65532, permissions: 0o700}]\n"} {
		profile := filepath.Join(b.root, name+".yaml")
		if err := os.WriteFile(profile, []byte(text), 0o644); err != nil {
			return nil, err
		}
		for _, args := range [][]string{{"lock", profile, "-q"}, {"build", profile, "-q", "-o", filepath.Join(b.root, name)}} {
			if _, _, err := command(args...).run(ctx); err != nil {
				return nil, err
			}
		}
	}
	var checks, diffs []cost
	// The first round fills what is not filled yet.
	for i := range runs + 1 {
		_, check, err := command("lock", filepath.Join(b.root, "one.yaml"), "--check").run(ctx)
		if err != nil {
			return nil, err
		}
		_, diff, err := command("diff", filepath.Join(b.root, "one"), filepath.Join(b.root, "other")).run(ctx)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			checks, diffs = append(checks, check), append(diffs, diff)
		}
	}
	check, diff := median(checks), median(diffs)
	return []row{
		{"lock --check, nothing changed, warm", check.String(), fmt.Sprintf("<= %v", lockTarget), check.wall <= lockTarget},
		{fmt.Sprintf("diff of two images of %d architectures, warm", len(b.profile.Archs)), diff.String(), fmt.Sprintf("<= %v", lockTarget), diff.wall <= lockTarget},
	}, nil
}

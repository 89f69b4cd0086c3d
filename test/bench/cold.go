package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const coldRatio = 1.05 // a cold build is to take this much of go build's time at most

// cold measures a build with empty caches against the plain go build of the
// same programs, etcd and migrate, for the same architectures, with the same
// toolchain, from an equally empty build cache. Modules are there already for both.
func (b *workbench) cold(ctx context.Context) ([]row, error) {
	fmt.Fprintln(os.Stderr, "measuring go build with a cold build cache")
	var plain cost
	for _, arch := range b.profile.Archs {
		for _, program := range []struct{ dir, pkg string }{{b.module, server}, {b.repo, "./migrate"}} {
			build := b.goCommand(map[string]string{"GOARCH": arch, "GOCACHE": filepath.Join(b.root, "cold-go")},
				"build", "-trimpath", "-buildvcs=false", "-ldflags", strings.Join(linkerFlags, " "), "-o", filepath.Join(b.root, "plain"), program.pkg)
			build.dir = program.dir
			_, c, err := build.run(ctx)
			if err != nil {
				return nil, err
			}
			plain.wall += c.wall
			plain.cpu += c.cpu
			plain.peak = max(plain.peak, c.peak)
		}
	}
	fmt.Fprintln(os.Stderr, "measuring a build with cold caches")
	build := b.build(b.cache(), filepath.Join(b.repo, profilePath))
	build.env["GOCACHE"] = filepath.Join(b.root, "cold-etcdimg")
	_, ours, err := build.run(ctx)
	if err != nil {
		return nil, err
	}
	ratio := ours.wall.Seconds() / plain.wall.Seconds()
	archs := fmt.Sprintf("%d architectures", len(b.profile.Archs))
	return []row{
		{"cold build, " + archs, ours.String(), "", true},
		{"go build, " + archs, plain.String(), "", true},
		{"cold build / go build", fmt.Sprintf("%.3f", ratio), fmt.Sprint(coldRatio), ratio <= coldRatio},
		{"cold build / go build, processor time", fmt.Sprintf("%.3f", ours.cpu.Seconds()/plain.cpu.Seconds()), "", true},
	}, nil
}

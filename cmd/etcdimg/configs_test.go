package main

import (
	"bytes"
	"io/fs"
	"testing"

	"github.com/etcdimg/etcdimg"
	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/operator"
)

// The profiles of configs/ have locks, and those are of the profiles and of the
// migrate operator as they are now: whoever changes either, locks again.
func TestLocksOfConfigsAreUpToDate(t *testing.T) {
	const remedy = "run make locks, which keeps all other pins"
	sources, err := operator.Read(etcdimg.Operator())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range builtInProfiles() {
		p, err := loadProfile(name)
		if err != nil {
			t.Fatal(err)
		}
		path := lock.PathFor(name)
		b, err := fs.ReadFile(etcdimg.Configs(), path)
		if err != nil {
			t.Errorf("%v: %s", err, remedy)
			continue
		}
		l, err := lock.Read("configs/"+path, b)
		if err != nil {
			t.Errorf("%v\n%s", err, remedy)
			continue
		}
		if err := build.Match(p, l, p.Archs); err != nil {
			t.Errorf("configs/%s: %v\n%s", path, err, remedy)
		}
		if l.Migrate == nil {
			t.Errorf("configs/%s pins no migrate operator: %s", path, remedy)
		} else if _, err := sources.Program(*l.Migrate); err != nil {
			t.Errorf("configs/%s: %v\n%s", path, err, remedy)
		}
		if again, err := l.Bytes(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("configs/%s is not as etcdimg writes it (%v): %s", path, err, remedy)
		}
	}
}

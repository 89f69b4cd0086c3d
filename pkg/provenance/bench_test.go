package provenance_test

import (
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/provenance"
)

// BenchmarkDescribeIndex is for an image of nine versions with a large go.sum
// each and a hundred packages.
func BenchmarkDescribeIndex(b *testing.B) {
	r := result(b)
	e := r.Lock.Etcd[0]
	for i := range 300 {
		e.GoSum += "example.org/module" + strings.Repeat("x", i) + " v1.0.0 " + sumB + "\n"
	}
	for range 8 {
		r.Lock.Etcd = append(r.Lock.Etcd, e)
	}
	for i := range r.Lock.Debian {
		set := &r.Lock.Debian[i]
		set.Packages = append([]lock.Package(nil), set.Packages...)
		for n := range 100 {
			p := set.Packages[1]
			p.Name += strings.Repeat("x", n)
			set.Packages = append(set.Packages, p)
		}
	}
	d := &provenance.Describer{Tool: tool}
	for b.Loop() {
		if _, err := d.DescribeIndex(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

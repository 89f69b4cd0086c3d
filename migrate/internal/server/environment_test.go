package server

import (
	"slices"
	"testing"
)

func TestServerStartsOnEveryArchitectureAndByItsFlagsAlone(t *testing.T) {
	env := []string{"HOME=/root", "ETCD_NAME=other", "ETCD_UNSUPPORTED_ARCH=other", "ETCDCTL_API=3"}
	for arch, want := range map[string][]string{
		"amd64": {"HOME=/root", "ETCDCTL_API=3"},
		"arm64": {"HOME=/root", "ETCDCTL_API=3", "ETCD_UNSUPPORTED_ARCH=arm64"},
		"s390x": {"HOME=/root", "ETCDCTL_API=3", "ETCD_UNSUPPORTED_ARCH=s390x"},
	} {
		if got := environment(env, arch); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", arch, got, want)
		}
	}
}

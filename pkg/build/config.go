package build

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// unsupportedArch is the variable without which etcd does not start on some
// architectures; its value is the architecture. No flag repeats it.
const unsupportedArch = "ETCD_UNSUPPORTED_ARCH"

// environment is the profile's, and what the default etcd needs to start.
func environment(p *profile.Profile, l *lock.Lock, arch profile.Arch) map[string]string {
	all := maps.Clone(p.Environment)
	if _, ok := all[unsupportedArch]; ok || len(l.Etcd) == 0 {
		return all
	}
	line, err := etcd.LineOf(l.Etcd[0].Version)
	if err != nil || !slices.Contains(line.Unsupported, string(arch)) {
		return all
	}
	if all == nil {
		all = map[string]string{}
	}
	all[unsupportedArch] = string(arch)
	return all
}

// config is the part of the image configuration that says how to start the
// image. The user is written as a number: Kubernetes can check runAsNonRoot
// on nothing else. Its group and supplementary groups the runtime takes from
// the image's /etc/passwd and /etc/group.
func config(t *rootfs.Tree, p *profile.Profile, l *lock.Lock, arch profile.Arch) (v1.Config, error) {
	entrypoint, err := profile.SplitCommand(p.Entrypoint.Command)
	if err != nil {
		return v1.Config{}, fmt.Errorf("entrypoint: %w", err)
	}
	cmd, err := profile.SplitCommand(p.Cmd)
	if err != nil {
		return v1.Config{}, fmt.Errorf("cmd: %w", err)
	}
	c := v1.Config{
		Entrypoint: entrypoint,
		Cmd:        cmd,
		WorkingDir: p.WorkDir,
		StopSignal: p.StopSignal,
		Labels:     p.Labels,
	}
	environment := environment(p, l, arch)
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		c.Env = append(c.Env, name+"="+environment[name])
	}
	if len(p.Volumes) > 0 {
		c.Volumes = map[string]struct{}{}
		for _, v := range p.Volumes {
			c.Volumes[v] = struct{}{}
		}
	}
	if len(p.Ports) > 0 {
		c.ExposedPorts = map[string]struct{}{}
		for _, port := range p.Ports {
			c.ExposedPorts[port] = struct{}{}
		}
	}
	if h := p.Healthcheck; h != nil {
		c.Healthcheck = &v1.HealthConfig{
			Test: h.Test, Interval: time.Duration(h.Interval), Timeout: time.Duration(h.Timeout),
			StartPeriod: time.Duration(h.StartPeriod), Retries: h.Retries,
		}
	}
	if p.Accounts.RunAs != "" {
		uid, gid, err := rootfs.LookupUser(t, p.Accounts.RunAs)
		if err != nil {
			return v1.Config{}, fmt.Errorf("accounts.run-as: %w", err)
		}
		c.User = strconv.Itoa(uid)
		primary, ok, err := rootfs.PrimaryGroup(t, uid)
		if err != nil {
			return v1.Config{}, fmt.Errorf("accounts.run-as: %w", err)
		}
		if !ok || primary != gid {
			c.User += ":" + strconv.Itoa(gid)
		}
	}
	return c, nil
}

package build

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// config is the part of the image configuration that says how to start the
// image. The user is written as a number: Kubernetes can check runAsNonRoot
// on nothing else. Its group and supplementary groups the runtime takes from
// the image's /etc/passwd and /etc/group.
func config(t *rootfs.Tree, p *profile.Profile) (v1.Config, error) {
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
	for _, name := range slices.Sorted(maps.Keys(p.Environment)) {
		c.Env = append(c.Env, name+"="+p.Environment[name])
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

package profile

import (
	"fmt"
	"path/filepath"
	"strings"
)

// defaultPath is the PATH of an image that sets none, as Debian's root has it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// defaultModes are the permissions of new paths by their type. Hard links have
// those of what they repeat, and permissions must be given for "permissions".
var defaultModes = map[string]Mode{"directory": 0o755, "empty-file": 0o644, "symlink": 0o777}

// setDefaults fills in the defaults that depend on other keys; the fixed ones
// are in the tags of the types. The stop signal has none: an image without one
// gets SIGTERM from every engine.
func (p *Profile) setDefaults() {
	if !p.written("name") {
		base := filepath.Base(p.file)
		p.Name = strings.TrimSuffix(base, filepath.Ext(base))
	}
	hasEtcd := len(p.Etcd.Versions) > 0
	if !p.written("etcd.binaries") && hasEtcd {
		p.Etcd.Binaries = []string{"etcd"}
	}
	if !p.written("tag") {
		p.Tag = "{{.Revision}}"
		if hasEtcd {
			p.Tag = "{{.EtcdVersion}}-{{.Revision}}"
		}
	}
	if p.Environment == nil {
		p.Environment = map[string]string{}
	}
	if _, ok := p.Environment["PATH"]; !ok {
		p.Environment["PATH"] = defaultPath
	}
	for i := range p.Accounts.Users {
		u, key := &p.Accounts.Users[i], fmt.Sprintf("accounts.users[%d].", i)
		if !p.written(key + "gid") {
			u.GID = u.UID
		}
		if !p.written(key + "homedir") {
			u.HomeDir = "/home/" + u.UserName
			if u.UserName == "root" {
				u.HomeDir = "/root"
			}
		}
	}
	for i := range p.Paths {
		if !p.written(fmt.Sprintf("paths[%d].permissions", i)) {
			p.Paths[i].Permissions = defaultModes[p.Paths[i].Type]
		}
	}
}

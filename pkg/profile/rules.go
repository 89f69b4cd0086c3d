package profile

import (
	"encoding/pem"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// rule is one thing that several keys of a resolved profile must satisfy.
type rule struct {
	name string
	// needs are keys on which the rule's whole judgement rests; it is left out
	// while one of them could not be read. What a rule says about a key that
	// could not be read is left out in any case.
	needs []string
	check func(*Profile, *judge)
}

// rules is the whole list.
var rules = []rule{
	{"something is in the image", []string{"etcd", "contents", "paths"}, checkNotEmpty},
	{"versions and binaries go together", []string{"etcd.versions"}, checkBinaries},
	{"only what is compiled can be tuned", []string{"etcd.from", "archs"}, checkFrom},
	{"packages come from somewhere, once", nil, checkPackages},
	{"architectures are named once", nil, checkArchs},
	{"certificates are certificates", nil, checkCertificates},
	{"accounts are unambiguous", nil, checkAccounts},
	{"the user is there", []string{"accounts.users", "contents.packages"}, checkRunAs},
	{"every path is made once", nil, checkPathsOnce},
	{"paths have what their type needs", nil, checkPathTypes},
	{"volumes are named once", nil, checkVolumesOnce},
	{"volumes are writable", []string{"accounts", "paths", "contents.packages"}, checkVolumesWritable},
	{"ports are named once", nil, checkPorts},
	{"the health check has Docker's form", nil, checkHealthcheck},
	{"commands are in the image", []string{"entrypoint", "etcd", "paths", "contents.files"}, checkPrograms},
	{"the tag is a tag", []string{"name", "revision", "etcd.versions"}, checkTag},
	{"the tag is named in one place", nil, checkReference},
}

// judge collects what the rules find.
type judge struct {
	profile *Profile
	unread  *problems // what could not be read: the zero values there are nobody's
	found   *problems
}

// report records that the value of a key does not go together with others.
func (j *judge) report(key, message, remedy string) {
	if j.read(key) {
		j.found.add(j.profile.Problem(key, message, remedy))
	}
}

// read tells whether the value of a key is as it was written.
func (j *judge) read(key string) bool { return !j.unread.cover(key) }

// Validate checks what several keys must satisfy together, as Read has done
// already; it is for a profile that a program changed or made. The error is
// Errors.
func (p *Profile) Validate() error {
	var found problems
	p.validate(&found)
	return found.err()
}

// validate adds to the problems that reading has found.
func (p *Profile) validate(ps *problems) {
	j := &judge{profile: p, unread: &problems{list: slices.Clone(ps.list)}, found: ps}
	for _, r := range rules {
		if !slices.ContainsFunc(r.needs, j.unread.touch) {
			r.check(p, j)
		}
	}
}

func checkNotEmpty(p *Profile, j *judge) {
	if len(p.Etcd.Versions)+len(p.Contents.Packages)+len(p.Contents.Files)+len(p.Paths) == 0 {
		j.report("etcd.versions", "nothing is to be put into the image", "name an etcd version, packages or files")
	}
}

func checkBinaries(p *Profile, j *judge) {
	versions, binaries := p.Etcd.Versions, p.Etcd.Binaries
	twice(j, "etcd.versions", versions)
	twice(j, "etcd.binaries", binaries)
	switch {
	case len(versions) == 0 && len(binaries) > 0:
		j.report("etcd.binaries", "there are no etcd.versions to take them from", "add etcd.versions: [3.6.16]")
	case len(versions) > 0 && len(binaries) == 0:
		j.report("etcd.binaries", "names no binary", "write [etcd], or remove etcd.versions too")
	case len(versions) > 0:
		if i := slices.Index(binaries, "etcdutl"); i >= 0 && olderThan(versions[0], etcdutlMajor, etcdutlMinor) {
			j.report(fmt.Sprintf("etcd.binaries[%d]", i), fmt.Sprintf("etcd %s has no etcdutl, which began with 3.5", versions[0]),
				"remove it, or put a version from 3.5 on first: the first has the plain names")
		}
	}
}

// The first line that has etcdutl.
const etcdutlMajor, etcdutlMinor = 3, 5

// olderThan compares the line of an etcd version; what is not a version is not
// older.
func olderThan(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 3 {
		return false
	}
	x, errX := strconv.Atoi(parts[0])
	y, errY := strconv.Atoi(parts[1])
	return errX == nil && errY == nil && (x < major || x == major && y < minor)
}

// checkFrom holds what is for binaries of one origin alone against where they
// come from. It lets the toolchain pass, which compiles migrate, too.
func checkFrom(p *Profile, j *judge) {
	releases := p.Etcd.From.releases(p.Archs)
	if len(p.Etcd.Keyring) > 0 && len(releases) == 0 {
		j.report("etcd.keyring", "its keys are for official releases, and none is taken", "remove it, or write etcd.from: release")
	}
	for _, k := range []struct {
		key  string
		set  bool
		arch Arch // the only one that it is for; empty: for all
	}{
		{"etcd.bump", len(p.Etcd.Bump) > 0, ""},
		{"etcd.fips", p.Etcd.FIPS, ""},
		{"etcd.goamd64", p.Etcd.GOAMD64 != "", "amd64"},
		{"etcd.goarm64", p.Etcd.GOARM64 != "", "arm64"},
		{"etcd.goppc64", p.Etcd.GOPPC64 != "", "ppc64le"},
	} {
		switch {
		case !k.set || len(releases) == 0 || k.arch != "" && !slices.Contains(releases, k.arch):
		case len(p.Etcd.From) == 1 && p.Etcd.From[fromDefault] == "release":
			j.report(k.key, "an official release is compiled already", "remove it, or write etcd.from: source")
		case k.arch != "":
			j.report(k.key, fmt.Sprintf("%s takes the official release, which is compiled already", k.arch), "remove it, or write etcd.from: {"+string(k.arch)+": source}")
		default:
			j.report(k.key, fmt.Sprintf("%s takes the official release, which is compiled already", join(releases)), "remove it, or write etcd.from: source")
		}
	}
}

func checkPackages(p *Profile, j *judge) {
	twice(j, "contents.repositories", p.Contents.Repositories)
	names := make([]string, len(p.Contents.Packages))
	for i, item := range p.Contents.Packages {
		names[i], _, _ = strings.Cut(strings.TrimPrefix(item, "!"), "=")
		first := slices.Index(names[:i], names[i])
		if first < 0 || names[i] == "" {
			continue
		}
		key := fmt.Sprintf("contents.packages[%d]", i)
		if other := p.Contents.Packages[first]; other == item {
			j.report(key, fmt.Sprintf("%q is given twice", item), "keep one of them")
		} else {
			j.report(key, fmt.Sprintf("%q contradicts %q", item, other), "keep one of them")
		}
	}
	if len(p.Contents.Packages) > 0 && len(p.Contents.Repositories) == 0 {
		j.report("contents.packages", "there is no repository to take them from", "add contents.repositories: [debian trixie main]")
	}
}

func checkArchs(p *Profile, j *judge) {
	if len(p.Archs) == 0 {
		j.report("archs", "names no architecture", "remove it for all of them, or name one of "+join(Archs()))
	}
	twice(j, "archs", p.Archs)
}

func checkCertificates(p *Profile, j *judge) {
	names := make([]string, len(p.Certificates.Additional))
	for i, c := range p.Certificates.Additional {
		names[i] = c.Name
		key := fmt.Sprintf("certificates.additional[%d]", i)
		if j.unread.touch(key) {
			continue
		}
		switch {
		case c.Content != "" && c.Source != "":
			j.report(key, "has both content and source", "keep one of them")
		case c.Content == "" && c.Source == "":
			j.report(key, "has neither content nor source", "add the PEM text, or name its file")
		case c.Content != "":
			checkPEM(c.Content, key+".content", j)
		}
	}
	twice(j, "certificates.additional", names)
}

func checkPEM(text, key string, j *judge) {
	rest, found := []byte(text), false
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if found = true; block.Type != "CERTIFICATE" {
			j.report(key, fmt.Sprintf("holds a PEM block of type %s", block.Type), "leave only CERTIFICATE blocks, and keep secrets out of profiles")
			return
		}
	}
	if !found {
		j.report(key, "holds no PEM block", "write the certificate with its BEGIN and END lines, after content: |")
	}
}

func checkPorts(p *Profile, j *judge) { twice(j, "ports", p.Ports) }

func checkHealthcheck(p *Profile, j *judge) {
	const key = "healthcheck.test"
	if p.Healthcheck == nil {
		return
	}
	test := p.Healthcheck.Test
	switch {
	case j.unread.touch(key):
	case len(test) == 0:
		j.report(key, "is empty", "write [CMD, /path/of/command, …], or [NONE]")
	case test[0] == "CMD" && len(test) < 2:
		j.report(key, "CMD has no command", "write [CMD, /path/of/command, …]")
	case test[0] == "CMD" && !strings.HasPrefix(test[1], "/"):
		j.report(key+"[1]", fmt.Sprintf("%q is not an absolute path", test[1]), "write the command's absolute path")
	case test[0] == "CMD-SHELL" && len(test) != 2:
		j.report(key, "CMD-SHELL takes one line", "write [CMD-SHELL, \"command line\"]")
	case test[0] == "NONE" && len(test) > 1:
		j.report(key, "NONE takes nothing after it", "write [NONE]")
	case test[0] != "CMD" && test[0] != "CMD-SHELL" && test[0] != "NONE":
		j.report(key+"[0]", fmt.Sprintf("%q is not CMD, CMD-SHELL or NONE", test[0]), "write CMD before the command")
	}
}

// checkPrograms looks at the programs that only etcdimg puts into images: what
// packages bring is not known here.
func checkPrograms(p *Profile, j *judge) {
	check := func(key string, argv []string) {
		if len(argv) > 0 && !p.bringsProgram(argv[0]) {
			j.report(key, argv[0]+" is not in the image", "add it to etcd.binaries, or name another command")
		}
	}
	if argv, err := p.EntrypointArgs(); err == nil && len(argv) > 0 {
		check("entrypoint.command", argv)
	} else if argv, err := p.CmdArgs(); err == nil {
		check("cmd", argv)
	}
	if h := p.Healthcheck; h != nil && len(h.Test) > 1 && h.Test[0] == "CMD" {
		check("healthcheck.test[1]", h.Test[1:])
	}
}

func (p *Profile) bringsProgram(program string) bool {
	name, local := strings.CutPrefix(program, "/usr/local/bin/")
	binary, version, _ := strings.Cut(name, "-")
	switch {
	case !local,
		slices.ContainsFunc(p.Contents.Files, func(f File) bool { return f.Path == program }),
		slices.ContainsFunc(p.Paths, func(f Path) bool { return f.Path == program }):
		return true
	case binary == "etcd", binary == "etcdctl", binary == "etcdutl":
		return slices.Contains(p.Etcd.Binaries, binary) && (version == "" || slices.Contains(p.Etcd.Versions, version))
	}
	return true
}

func checkTag(p *Profile, j *judge) {
	if _, err := p.ImageTag(); err != nil {
		j.report("tag", err.Error(), `use letters, digits, . _ - and the fields, as "{{.EtcdVersion}}-{{.Revision}}"`)
	}
}

// checkReference: the annotation would name another image than the index does.
func checkReference(p *Profile, j *judge) {
	const ref = "org.opencontainers.image.ref.name"
	if _, ok := p.Annotations[ref]; ok {
		j.report("annotations."+ref, "is made from the tag", "remove it, and set tag")
	}
}

// twice reports items that are equal to an earlier one.
func twice[T ~string](j *judge, key string, items []T) {
	for i, item := range items {
		if item != "" && slices.Index(items, item) < i {
			j.report(fmt.Sprintf("%s[%d]", key, i), fmt.Sprintf("%q is given twice", item), "keep one of them")
		}
	}
}

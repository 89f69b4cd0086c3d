package debiantest

import "strings"

// AddBase fills the suite "debian trixie" with a small Debian: packages of the
// names, the layout and the control files of those whose maintainer scripts
// make a base system what it is, for every architecture. @required and apt give
// all of them.
func (m *Mirror) AddBase() {
	for _, arch := range []string{"amd64", "arm64", "ppc64el", "s390x"} {
		m.Suite("debian", "trixie").Add(base(arch)...)
	}
	m.Suite("debian", "trixie").Add(baseAll()...)
}

// BasePackages are the profile's packages for AddBase.
func BasePackages() []string { return []string{"@required", "apt"} }

const script = "#!/bin/sh\n"

func scripts(names ...string) map[string]string {
	out := map[string]string{}
	for _, n := range names {
		out[n] = script
	}
	return out
}

// with adds a control file that is no script.
func with(scripts map[string]string, name, content string) map[string]string {
	scripts[name] = content
	return scripts
}

// dirs are the directories above paths, outermost first.
func dirs(paths ...string) []File {
	seen := map[string]bool{}
	var out []File
	for _, p := range paths {
		for i := 1; i < len(p); i++ {
			if p[i] == '/' && !seen[p[:i]] {
				seen[p[:i]] = true
				out = append(out, File{Name: p[:i] + "/"})
			}
		}
	}
	return out
}

// files are plain files with the directories above them.
func files(list ...File) []File {
	var paths []string
	for _, f := range list {
		paths = append(paths, f.Name)
	}
	return append(dirs(paths...), list...)
}

func program(p string) File { return File{Name: p, Mode: 0o755, Body: "\x7fELF " + p} }

func manual(p string) File { return File{Name: p, Body: "manual"} }

var required = map[string]string{"Priority": "required"}

func essential(more map[string]string) map[string]string {
	out := map[string]string{"Priority": "required", "Essential": "yes"}
	for k, v := range more {
		out[k] = v
	}
	return out
}

func base(arch string) []Deb {
	multi := "interest-noawait /usr/lib32\n"
	if arch == "arm64" || arch == "s390x" {
		multi += "interest-noawait /usr/lib64\n"
	}
	list := []Deb{
		{
			Name: "base-files", Version: "13.8", Fields: essential(map[string]string{"Pre-Depends": "awk"}),
			Scripts: with(with(scripts("preinst", "postinst"), "triggers", "# multilib\n"+multi), "conffiles", "/etc/debian_version\n"),
			Files: append(files(
				File{Name: "/etc/debian_version", Body: "13.8\n"},
				File{Name: "/etc/dpkg/origins/debian", Body: "Vendor: Debian\n"},
				File{Name: "/usr/lib/os-release", Body: "ID=debian\n"},
				File{Name: "/usr/share/base-files/profile", Body: "profile\n"},
				File{Name: "/usr/share/base-files/motd", Body: "motd\n"},
				File{Name: "/usr/share/base-files/dot.bashrc", Body: "bashrc\n"},
				File{Name: "/usr/share/base-files/dot.profile", Body: "dot profile\n"},
				File{Name: "/usr/share/base-files/info.dir", Body: "info\n"},
				File{Name: "/usr/share/doc/base-files/copyright", Body: "License: GPL\n"},
			),
				File{Name: "/root/", Mode: 0o700}, File{Name: "/tmp/", Mode: 0o1777}, File{Name: "/var/"}, File{Name: "/var/run/"}, File{Name: "/var/lock/"}, File{Name: "/var/log/"},
				File{Name: "/var/spool/"}, File{Name: "/usr/share/info/"}, File{Name: "/usr/bin/"}, File{Name: "/usr/sbin/"},
				File{Name: "/bin", Type: '2', Link: "usr/bin"}, File{Name: "/sbin", Type: '2', Link: "usr/sbin"}, File{Name: "/lib", Type: '2', Link: "usr/lib"}),
		},
		{
			Name: "libc6", Version: "2.41-12", Fields: map[string]string{"Priority": "optional", "Multi-Arch": "same", "Homepage": "https://libc.example"},
			Scripts: with(scripts("preinst", "postinst"), "triggers", "activate-noawait ldconfig\n"),
			Files:   files(File{Name: "/usr/lib/libc.so.6", Mode: 0o755, Body: "libc"}),
		},
		{
			Name: "libc-bin", Fields: essential(nil), Scripts: with(scripts("postinst"), "triggers", "interest-await ldconfig\n"),
			Files: files(File{Name: "/usr/share/libc-bin/nsswitch.conf", Body: "passwd: files\n"}, program("/usr/sbin/ldconfig")),
		},
		{
			Name: "base-passwd", Fields: essential(nil), Scripts: scripts("preinst", "postinst"),
			Files: files(
				File{Name: "/usr/share/base-passwd/passwd.master", Body: "root:*:0:0:root:/root:/bin/bash\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
				File{Name: "/usr/share/base-passwd/group.master", Body: "root:*:0:\nshadow:*:42:\nnogroup:*:65534:\n"}),
		},
		{Name: "passwd", Fields: required, Scripts: scripts("preinst", "postinst"), Files: files(File{Name: "/usr/bin/passwd", Mode: 0o4755, Body: "passwd"})},
		{
			Name: "libpam-modules", Fields: map[string]string{"Priority": "required", "Multi-Arch": "same"}, Scripts: scripts("preinst", "postinst"),
			Files: files(File{Name: "/etc/security/limits.conf", Body: "# limits\n"}),
		},
		{Name: "bash", Fields: essential(map[string]string{"Pre-Depends": "libc6 (>= 2.38)"}), Scripts: scripts("postinst"), Files: files(program("/usr/bin/bash"),
			File{Name: "/usr/share/debianutils/shells.d/bash", Body: "/bin/bash\n/usr/bin/bash\n"}, manual("/usr/share/man/man7/bash-builtins.7.gz"))},
		{Name: "dash", Fields: essential(nil), Scripts: scripts("preinst", "postinst"), Files: append(files(program("/usr/bin/dash"), File{Name: "/usr/share/debianutils/shells.d/dash", Body: "# small\n/usr/bin/dash\n"}),
			File{Name: "/usr/bin/sh", Type: '2', Link: "dash"})},
		{
			Name: "debianutils", Fields: essential(nil), Scripts: with(scripts("postinst"), "triggers", "interest-noawait /usr/share/debianutils/shells.d\n"),
			Files: files(program("/usr/bin/which.debianutils"), File{Name: "/usr/share/debianutils/shells", Body: "# login shells\n/bin/sh\n"},
				manual("/usr/share/man/man1/which.debianutils.1.gz"), manual("/usr/share/man/de/man1/which.debianutils.1.gz")),
		},
		{Name: "mawk", Fields: map[string]string{"Priority": "required", "Provides": "awk"}, Scripts: scripts("postinst"), Files: files(program("/usr/bin/mawk"), manual("/usr/share/man/man1/mawk.1.gz"))},
		{Name: "util-linux", Fields: essential(nil), Scripts: scripts("postinst"), Files: files(program("/usr/bin/more"))},
		{Name: "tar", Fields: essential(nil), Scripts: scripts("postinst"), Files: files(program("/usr/sbin/rmt-tar"))},
		{
			Name: "dpkg", Version: "1.22.21", Fields: essential(nil), Scripts: with(scripts("postinst"), "conffiles", "/etc/dpkg/dpkg.cfg\n"),
			Files: append(files(program("/usr/bin/dpkg"), File{Name: "/etc/dpkg/dpkg.cfg", Body: "no-debsig\n"}), dirs("/etc/dpkg/dpkg.cfg.d/x", "/var/lib/dpkg/info/x")...),
		},
		{
			Name: "apt", Fields: map[string]string{"Priority": "required", "Depends": "debian-archive-keyring,\n libc6 (>= 2.38)"}, Scripts: scripts("preinst", "postinst"),
			Files: append(files(program("/usr/bin/apt-get")), dirs("/etc/apt/apt.conf.d/x", "/etc/apt/sources.list.d/x", "/var/cache/apt/archives/partial/x", "/var/lib/apt/lists/partial/x")...),
		},
	}
	for i := range list {
		list[i].Arch = arch
	}
	return list
}

func baseAll() []Deb {
	common := func(kind string) File {
		return File{Name: "/usr/share/pam/common-" + kind, Body: strings.NewReplacer("KIND", kind, "VAR", strings.ReplaceAll(kind, "noninteractive", "nonint")).Replace(
			"# KIND\n$VAR_primary\nKIND requisite pam_deny.so\n$VAR_additional\n# end\n")}
	}
	return []Deb{
		{
			Name: "libpam-runtime", Fields: required, Scripts: scripts("postinst"),
			Files: files(common("auth"), common("account"), common("password"), common("session"), common("session-noninteractive"),
				File{Name: "/usr/share/pam-configs/unix", Body: `Name: Unix
Default: yes
Priority: 256
Auth-Type: Primary
Auth:
	[success=end default=ignore]	pam_unix.so nullok try_first_pass
Auth-Initial:
	[success=end default=ignore]	pam_unix.so nullok
Session-Type: Additional
Session:
	required	pam_unix.so
`},
				File{Name: "/usr/share/pam-configs/extra", Body: `Name: Extra
Default: yes
Priority: 10
Auth-Type: Primary
Auth:
	[success=end default=die]	pam_extra.so use_first_pass
	requisite	pam_more.so
Session-Type: Additional
Session-Interactive-Only: yes
Session:
	optional	pam_extra.so   a  b
`},
				File{Name: "/usr/share/pam-configs/off", Body: "Name: Off\nDefault: no\nPriority: 300\nAuth-Type: Primary\nAuth:\n\trequired pam_off.so\n"}),
		},
		{Name: "debian-archive-keyring", Fields: required, Scripts: scripts("preinst", "postinst"), Files: files(File{Name: "/usr/share/keyrings/debian-archive-keyring.pgp", Body: "keys"})},
	}
}

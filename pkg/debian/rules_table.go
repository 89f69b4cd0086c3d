package debian

import (
	"slices"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

var (
	both     = []string{"preinst", "postinst"}
	postinst = []string{"postinst"}
)

// Why a script does nothing in a fresh image.
const (
	forUpgrades = "nothing: it is for upgrades and for removal"
	forServices = "nothing: it is for upgrades, and for services, which an image does not start"
)

// rules is everything that stands in for a maintainer script or for dpkg, in
// the order in which it is done. A package whose scripts are to be covered is
// one more row.
//
// The last things that scripts do are left out of all of them: ldconfig's cache
// (the loader searches the standard directories without it), links that enable
// systemd's timers (there is no systemd), debconf's answers (all of them
// defaults), and copies of earlier states of files.
var rules = []rule{
	{
		pkg: "base-files", scripts: both, makes: "top directories, /usr/local, defaults of root, logs",
		files: slices.Concat(
			directories("/mnt", "/srv", "/opt", "/etc/opt", "/var/opt", "/media",
				"/usr/local", "/usr/local/share", "/usr/local/share/man", "/usr/local/bin", "/usr/local/games", "/usr/local/lib",
				"/usr/local/libexec", "/usr/local/include", "/usr/local/sbin", "/usr/local/src", "/usr/local/etc"),
			[]outcome{
				directory("/var/mail", 0o2775, 0, 8),
				directory("/run/lock", 0o1777, 0, 0),
				symlink("/var/spool/mail", "../mail"),
				symlink("/var/run", "/run"), // directories, in the package
				symlink("/var/lock", "/run/lock"),
				symlink("/usr/local/man", "share/man"),
				symlink("/etc/dpkg/origins/default", "debian"),
				copied("/etc/profile", "/usr/share/base-files/profile"),
				copied("/etc/motd", "/usr/share/base-files/motd"),
				copied("/root/.bashrc", "/usr/share/base-files/dot.bashrc"),
				copied("/root/.profile", "/usr/share/base-files/dot.profile"),
				copied("/usr/share/info/dir", "/usr/share/base-files/info.dir").ifDirectory(),
				empty("/var/log/wtmp", 0o664, 43),
				empty("/var/log/btmp", 0o660, 43),
				empty("/var/log/lastlog", 0o664, 43),
				text("/etc/fstab", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n"), // of those who bootstrap
			}),
		apply: applyMultilib,
		diverts: map[string][]string{
			"amd64":   {"/lib32", "/libo32", "/libx32"},
			"arm64":   {"/lib32", "/lib64", "/libo32", "/libx32"},
			"ppc64el": {"/lib32", "/libo32", "/libx32"},
			"s390x":   {"/lib32", "/lib64", "/libo32", "/libx32"},
		},
	},
	{
		pkg: "base-passwd", scripts: both, makes: "accounts",
		files: []outcome{empty("/etc/subuid", 0o644, 0), empty("/etc/subgid", 0o644, 0)},
		apply: applyAccounts,
	},
	{
		pkg: "passwd", scripts: both, makes: "passwords, none of them valid, in files of their own",
		files: []outcome{empty("/etc/.pwd.lock", 0o600, 0)},
		apply: applyShadow,
	},
	{
		pkg: "libc-bin", scripts: postinst, makes: "/etc/nsswitch.conf",
		files: []outcome{copied("/etc/nsswitch.conf", "/usr/share/libc-bin/nsswitch.conf")},
	},
	{
		pkg: "libc6", scripts: both, makes: "the diversion of the dynamic loader",
		diverts: map[string][]string{
			"amd64":   {"/lib64/ld-linux-x86-64.so.2"},
			"arm64":   {"/lib/ld-linux-aarch64.so.1"},
			"ppc64el": {"/lib64/ld64.so.2"},
			"s390x":   {"/lib/ld64.so.1"},
		},
	},
	{
		pkg: "libpam-modules", scripts: both, makes: "/etc/environment and the list of old passwords",
		files: []outcome{empty("/etc/environment", 0o644, 0), empty("/etc/security/opasswd", 0o600, 0)},
	},
	{pkg: "libpam-runtime", scripts: postinst, makes: "the common PAM configuration", apply: applyPAM},
	{
		pkg: "debianutils", scripts: postinst, makes: "login shells, and which",
		apply: applyShells,
		alternatives: []alternative{{
			link: "/usr/bin/which", name: "which", target: "/usr/bin/which.debianutils", priority: 0,
			slaves: slices.Concat(
				[]slave{{"/usr/share/man/man1/which.1.gz", "which.1.gz", "/usr/share/man/man1/which.debianutils.1.gz"}},
				whichManuals("de", "es", "fr", "it", "ja", "pl", "sl")),
		}},
	},
	{
		pkg: "mawk", scripts: postinst, makes: "awk",
		alternatives: []alternative{{
			link: "/usr/bin/awk", name: "awk", target: "/usr/bin/mawk", priority: 5,
			slaves: []slave{
				{"/usr/share/man/man1/awk.1.gz", "awk.1.gz", "/usr/share/man/man1/mawk.1.gz"},
				{"/usr/bin/nawk", "nawk", "/usr/bin/mawk"},
				{"/usr/share/man/man1/nawk.1.gz", "nawk.1.gz", "/usr/share/man/man1/mawk.1.gz"},
			},
		}},
	},
	{
		pkg: "util-linux", scripts: postinst, makes: "pager",
		alternatives: []alternative{{
			link: "/usr/bin/pager", name: "pager", target: "/bin/more", priority: 50,
			slaves: []slave{{"/usr/share/man/man1/pager.1.gz", "pager.1.gz", "/usr/share/man/man1/more.1.gz"}},
		}},
	},
	{
		pkg: "tar", scripts: postinst, makes: "rmt",
		alternatives: []alternative{{
			link: "/usr/sbin/rmt", name: "rmt", target: "/usr/sbin/rmt-tar", priority: 50,
			slaves: []slave{{"/usr/share/man/man8/rmt.8.gz", "rmt.8.gz", "/usr/share/man/man8/rmt-tar.8.gz"}},
		}},
	},
	{
		pkg: "bash", scripts: postinst, makes: "the manual page of the builtins",
		alternatives: []alternative{{
			link: "/usr/share/man/man7/builtins.7.gz", name: "builtins.7.gz", target: "/usr/share/man/man7/bash-builtins.7.gz", priority: 10,
		}},
	},
	{
		makes: "the links of the alternatives",
		when:  func(r *ruleRun) bool { return len(r.pkgs) > 0 },
		apply: applyAlternatives,
	},
	{
		pkg: "ca-certificates", scripts: postinst,
		makes: "the certificate bundle and its index of links", component: CertificatesComponent,
		when:  func(r *ruleRun) bool { return r.pkg != nil || len(r.opts.Certificates) > 0 },
		apply: applyCertificates,
	},
	{
		pkg: "tzdata", scripts: postinst,
		makes: "/etc/localtime, UTC", // and no /etc/timezone: the script only updates one that is there
		files: []outcome{symlink("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC")},
	},
	{
		pkg: "apt", scripts: both, makes: "apt's directories, settings for containers, sources",
		files: slices.Concat([]outcome{
			ownDirectory("/var/cache/apt/archives/partial", 0o700, 42, 0),
			ownDirectory("/var/lib/apt/lists/partial", 0o700, 42, 0),
		}, aptInContainer),
		apply: applySources,
	},
	{
		// busybox-static has no script: in a whole Debian it is for rescue.
		pkg: "busybox-static", makes: "a link for every applet, where there is no dpkg and so no Debian but this",
		when:  func(r *ruleRun) bool { return r.pkg != nil && r.find("dpkg") == nil },
		apply: applyApplets,
	},

	{pkg: "dash", scripts: both, makes: forUpgrades}, // the package ships /bin/sh itself
	{pkg: "debconf", scripts: postinst, makes: "nothing: it loads a library and ends"},
	{pkg: "debian-archive-keyring", scripts: both, makes: forUpgrades},
	{pkg: "gzip", scripts: both, makes: forUpgrades},
	{pkg: "init-system-helpers", scripts: postinst, makes: forUpgrades},
	{pkg: "libpam-modules-bin", scripts: postinst, makes: forServices},
	{pkg: "libpam0g", scripts: postinst, makes: forServices},
	{pkg: "libselinux1", scripts: postinst, makes: forUpgrades},
	{pkg: "login", scripts: both, makes: forUpgrades},
	{pkg: "login.defs", scripts: postinst, makes: forUpgrades},
	{pkg: "openssl", scripts: postinst, makes: "nothing: the link it would make is a directory of the package"},

	{
		pkg: "dpkg", scripts: postinst, makes: "dpkg's database and settings for containers",
		files: dpkgInContainer,
		apply: applyDatabase,
	},
	{
		makes: "dpkg's settings for an image that leaves files out",
		when:  func(r *ruleRun) bool { return (r.opts.Slim || len(r.opts.Exclude) > 0) && r.find("dpkg") != nil },
		apply: applyPathConfig,
	},
	{
		makes: "the package list that scanners read where there is no dpkg",
		when:  func(r *ruleRun) bool { return r.find("dpkg") == nil && len(r.pkgs) > 0 },
		apply: applyStatusFiles,
	},
}

func whichManuals(languages ...string) []slave {
	var out []slave
	for _, l := range languages {
		dir := "/usr/share/man/" + l + "/man1/"
		out = append(out, slave{dir + "which.1.gz", "which." + l + "1.gz", dir + "which.debianutils.1.gz"})
	}
	return out
}

// applyMultilib links /lib32 and its like to their place below /usr where a
// package brought one.
func applyMultilib(r *ruleRun) error {
	for _, link := range r.row.diverts[r.opts.debianArch()] {
		if e, ok := r.tree.Get("/usr" + link); !ok || e.Type != rootfs.Dir {
			continue
		}
		if _, ok := r.tree.Get(link); ok {
			continue
		}
		if err := symlink(link, "usr"+link).make(r); err != nil {
			return err
		}
	}
	return nil
}

package profile

import "strings"

// Arch is a Go architecture name (GOARCH), which is also the OCI platform
// architecture: amd64, arm64, ppc64le or s390x.
type Arch string

// Profile says what an image is to contain and how it starts. Field names are
// apko's wherever apko has the notion. It is plain data: reading it touches
// no file but the profile and its includes, and nothing in it is fetched.
//
// Load and Read give a profile with its includes merged and its defaults
// filled in; it remembers where each value was written (Origin) and where the
// local files are that it names (Local).
type Profile struct {
	Name         string            `json:"name,omitempty" format:"name" doc:"Name of the image; the profile's file name without its ending when absent."`
	Include      string            `json:"include,omitempty" format:"local" doc:"Another profile merged beneath this one: maps merge, lists and scalars replace. Relative to this file. Absent in a resolved profile."`
	Etcd         Etcd              `json:"etcd,omitzero" doc:"Which etcd, and how it is made."`
	Contents     Contents          `json:"contents,omitzero" doc:"Debian packages and local files."`
	Accounts     Accounts          `json:"accounts,omitzero" doc:"Users and groups, and the user that the image runs as."`
	Paths        []Path            `json:"paths,omitempty" doc:"Directories, links and files to create, or permissions to set."`
	Certificates Certificates      `json:"certificates,omitzero" doc:"Certificate authorities to trust beside those of ca-certificates."`
	Environment  map[string]string `json:"environment,omitempty" format:"variable" doc:"Environment variables of the image. No ETCD_* variable: etcd 3.4 and later exit when a flag repeats one."`
	Entrypoint   Command           `json:"entrypoint,omitzero" doc:"The image's entrypoint."`
	Cmd          string            `json:"cmd,omitempty" format:"command" doc:"Default arguments (or command, without an entrypoint), split as a shell would."`
	WorkDir      string            `json:"work-dir,omitempty" format:"path" doc:"Working directory, absolute."`
	Volumes      []string          `json:"volumes,omitempty" format:"path" doc:"Volume mount points, absolute."`
	Ports        []string          `json:"ports,omitempty" format:"port" doc:"Exposed ports, PORT/PROTOCOL."`
	StopSignal   string            `json:"stop-signal,omitempty" format:"signal" doc:"Signal that stops the container, as SIGTERM; engines send SIGTERM when absent."`
	Healthcheck  *Healthcheck      `json:"healthcheck,omitempty" doc:"Docker's health check extension; not part of the OCI specification."`
	Archs        []Arch            `json:"archs,omitempty" default:"amd64,arm64,ppc64le,s390x" doc:"Architectures to build; x86_64, aarch64, ppc64el and their like are accepted too."`
	Annotations  map[string]string `json:"annotations,omitempty" format:"label" doc:"Annotations on the index and the manifests."`
	Labels       map[string]string `json:"labels,omitempty" format:"label" doc:"Labels in the image configuration."`
	OSRelease    OSRelease         `json:"os-release,omitzero" doc:"/etc/os-release, written where no package brings one."`
	Migrate      bool              `json:"migrate,omitempty" doc:"Include the migrate operator as /usr/local/bin/migrate, and migrate-if-needed.sh where there is a /bin/sh."`
	Tag          string            `json:"tag,omitempty" doc:"Tag template; {{.EtcdVersion}} (the first version), {{.Revision}} and {{.Name}} are known. {{.EtcdVersion}}-{{.Revision}} when absent."`
	Revision     int               `json:"revision,omitempty" format:"count" doc:"Revision of the image for the same etcd version."`
	Layering     Layering          `json:"layering,omitzero" doc:"How the file tree becomes layers."`

	file    string              // the profile's own file, as it was given to Load or Read
	open    Opener              // what opened it; nil for one that was not read
	origins map[string]position // where each value was written, by its key path
}

// Etcd chooses versions and how their binaries come about.
type Etcd struct {
	Versions  []string          `json:"versions,omitempty" format:"version" doc:"etcd versions, MAJOR.MINOR.PATCH; the first has the plain names (/usr/local/bin/etcd)."`
	Binaries  []string          `json:"binaries,omitempty" enum:"etcd,etcdctl,etcdutl" doc:"Which binaries of each version; etcd alone when absent. A line older than 3.5 has no etcdutl."`
	From      From              `json:"from,omitempty" enum:"source,release" default:"source" doc:"Compile from Go modules (source), or unpack an official release; or a mapping from architectures, and default for the others, to one of the two."`
	Keyring   []string          `json:"keyring,omitempty" format:"local" doc:"OpenPGP keys, by path relative to the profile, one of which must have signed the checksums of an official release."`
	Toolchain string            `json:"toolchain,omitempty" format:"toolchain" doc:"The Go toolchain that compiles, as go1.27.4; the newest release when absent."`
	Bump      map[string]string `json:"bump,omitempty" format:"bump" doc:"Dependencies to raise above what etcd pins: module path to version."`
	FIPS      bool              `json:"fips,omitempty" doc:"Build with Go's FIPS 140-3 module (GOFIPS140)."`
	GOAMD64   string            `json:"goamd64,omitempty" enum:"v1,v2,v3,v4" doc:"Micro-architecture level for amd64."`
	GOARM64   string            `json:"goarm64,omitempty" format:"goarm64" doc:"Architecture level for arm64, as v8.0 or v9.0."`
	GOPPC64   string            `json:"goppc64,omitempty" enum:"power8,power9,power10" doc:"Architecture level for ppc64le."`
}

// Contents lists what comes from Debian and from beside the profile.
type Contents struct {
	Repositories        []string `json:"repositories,omitempty" format:"repository" doc:"Package sources: ARCHIVE SUITE COMPONENT…, or a full URL in the place of ARCHIVE."`
	Keyring             []string `json:"keyring,omitempty" format:"local" doc:"More OpenPGP keys that may sign archives, by path relative to the profile."`
	Packages            []string `json:"packages,omitempty" format:"package" doc:"Packages: NAME, NAME=VERSION, !NAME to leave one out although something depends on it, @essential or @required for a base. Quote what begins with ! or @."`
	Slim                bool     `json:"slim,omitempty" doc:"Leave out documentation, manual pages and locales; licences stay."`
	Exclude             []string `json:"exclude,omitempty" format:"path-pattern" doc:"Paths to leave out of packages, as dpkg's path-exclude: * stands for anything, slashes too."`
	RuntimeRepositories []string `json:"runtime-repositories,omitempty" format:"repository" doc:"apt sources inside the image; the pinned snapshot by default."`
	Files               []File   `json:"files,omitempty" doc:"Local files to put into the image."`
}

// File is a local file that goes into the image as it is.
type File struct {
	Source      string `json:"source" required:"true" format:"local" doc:"Path of the local file, relative to the profile; {{.Arch}} in it is the image's architecture, as amd64."`
	Path        string `json:"path" required:"true" format:"path" doc:"Absolute path in the image."`
	UID         int    `json:"uid,omitempty" format:"id" doc:"Numeric owner."`
	GID         int    `json:"gid,omitempty" format:"id" doc:"Numeric group."`
	Permissions Mode   `json:"permissions" default:"0o644" doc:"Mode bits, octal."`
}

// SourceFor is the local file for an architecture.
func (f File) SourceFor(arch Arch) string {
	return strings.ReplaceAll(f.Source, "{{.Arch}}", string(arch))
}

// Accounts are the entries of /etc/passwd and /etc/group beyond a package's.
type Accounts struct {
	RunAs  string  `json:"run-as,omitempty" accept:"integer" doc:"User that the image runs as: a name of the accounts, or UID or UID:GID."`
	Users  []User  `json:"users,omitempty" doc:"Users to create."`
	Groups []Group `json:"groups,omitempty" doc:"Groups to create."`
}

// User is one line of passwd(5).
type User struct {
	UserName string `json:"username" required:"true" format:"account" doc:"Login name."`
	UID      int    `json:"uid" required:"true" format:"id" doc:"Numeric user id."`
	GID      int    `json:"gid" format:"id" doc:"Numeric id of the primary group; the uid when absent."`
	HomeDir  string `json:"homedir,omitempty" format:"path" doc:"Home directory; /home/<username> when absent. It is not created unless paths names it."`
	Shell    string `json:"shell,omitempty" format:"path" default:"/sbin/nologin" doc:"Login shell."`
}

// Group is one line of group(5).
type Group struct {
	GroupName string   `json:"groupname" required:"true" format:"account" doc:"Group name."`
	GID       int      `json:"gid" required:"true" format:"id" doc:"Numeric group id."`
	Members   []string `json:"members,omitempty" format:"account" doc:"Login names of supplementary members."`
}

// Path is one change to the file tree after packages and binaries are there.
type Path struct {
	Path        string `json:"path" required:"true" format:"path" doc:"Absolute path in the image."`
	Type        string `json:"type" required:"true" enum:"directory,empty-file,symlink,hardlink,permissions" doc:"What to do at the path."`
	UID         int    `json:"uid,omitempty" format:"id" doc:"Numeric owner."`
	GID         int    `json:"gid,omitempty" format:"id" doc:"Numeric group."`
	Permissions Mode   `json:"permissions,omitempty" doc:"Mode bits, octal, setuid, setgid and sticky bits included. When absent, 0o755 for a directory and 0o644 for a file; links have none of their own."`
	Source      string `json:"source,omitempty" doc:"Target of a symlink, or the absolute path that a hard link repeats."`
	Recursive   bool   `json:"recursive,omitempty" doc:"Apply owner and permissions to everything beneath, too."`
}

// Certificates are trusted beside the bundle of ca-certificates.
type Certificates struct {
	Additional []Certificate `json:"additional,omitempty" doc:"Certificate authorities to add to the bundle."`
}

// Certificate is one or more PEM blocks, given in place or by path.
type Certificate struct {
	Name    string `json:"name" required:"true" format:"name" doc:"File name below /usr/local/share/ca-certificates, without its ending."`
	Content string `json:"content,omitempty" doc:"PEM text."`
	Source  string `json:"source,omitempty" format:"local" doc:"Path of a PEM file, relative to the profile."`
}

// Command is a command line that is split as a shell would, without a shell.
type Command struct {
	Command string `json:"command,omitempty" format:"command" doc:"Command line."`
}

// Healthcheck is the Docker image specification's Healthcheck.
type Healthcheck struct {
	Test        []string `json:"test" required:"true" doc:"CMD followed by the command and its arguments, CMD-SHELL and a line, or NONE."`
	Interval    Duration `json:"interval,omitempty" doc:"Time between two checks."`
	Timeout     Duration `json:"timeout,omitempty" doc:"Time after which a check has failed."`
	StartPeriod Duration `json:"start-period,omitempty" doc:"Time in which failures do not count."`
	Retries     int      `json:"retries,omitempty" format:"count" doc:"Consecutive failures that make the container unhealthy."`
}

// OSRelease is the part of os-release(5) that scanners read.
type OSRelease struct {
	ID         string `json:"id,omitempty" format:"os-id" doc:"Lower-case identifier of the base distribution."`
	VersionID  string `json:"version-id,omitempty" format:"os-id" doc:"Version of the base distribution."`
	Name       string `json:"name,omitempty" format:"line" doc:"Name for people."`
	PrettyName string `json:"pretty-name,omitempty" format:"line" doc:"Name and version for people."`
}

// Layering says how many layers there are and how they are compressed.
type Layering struct {
	Strategy    string `json:"strategy,omitempty" enum:"component,single" default:"component" doc:"One layer per component, or one in all."`
	Budget      int    `json:"budget,omitempty" format:"budget" default:"8" doc:"Most layers that an image may have; the smallest components share one beyond it."`
	Compression string `json:"compression,omitempty" enum:"gzip,zstd,estargz" default:"gzip" doc:"Compression of the layers."`
}

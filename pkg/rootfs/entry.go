package rootfs

import "io"

// Type is the kind of a file tree entry.
type Type byte

// The kinds of entries that an image's tree may have. Devices, sockets and
// FIFOs are left out on purpose: unprivileged unpacking can not make them.
const (
	Dir      Type = 'd'
	File     Type = 'f'
	Symlink  Type = 'l'
	Hardlink Type = 'h'
)

// String is the kind's name in messages.
func (t Type) String() string {
	switch t {
	case Dir:
		return "directory"
	case File:
		return "file"
	case Symlink:
		return "symbolic link"
	case Hardlink:
		return "hard link"
	}
	return "entry of unknown kind"
}

// Content is the bytes of a regular file, known by digest before they are
// read.
type Content interface {
	Digest() string // "sha256:" and 64 hex digits
	Size() int64    // bytes
	// Open returns the bytes from the start. What it yields has been, or is
	// while it is read, checked against Digest.
	Open() (io.ReadCloser, error)
}

// Entry is one path of the tree.
type Entry struct {
	Path      string  // absolute, slash-separated, clean
	Type      Type    //
	Mode      uint32  // permission bits with setuid 04000, setgid 02000, sticky 01000
	UID, GID  int     //
	Link      string  // Symlink: the target as it is written; Hardlink: the absolute path that it repeats
	Content   Content // File only
	Component string  // the layer component that the entry belongs to: "base", "etcd-3.6.16"
	Origin    string  // who put it there: a package name, "etcd 3.6.16", "profile"
}

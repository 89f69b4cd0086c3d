package version

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Storage is where the user's keys are: in the v2 store or in the v3 one.
type Storage string

// The two storages, as version.txt and --target-storage spell them.
const (
	Etcd2 Storage = "etcd2"
	Etcd3 Storage = "etcd3"
)

// ParseStorage reads "etcd2" or "etcd3".
func ParseStorage(s string) (Storage, error) {
	switch st := Storage(s); st {
	case Etcd2, Etcd3:
		return st, nil
	}
	return "", fmt.Errorf("%q is not a storage: etcd2 or etcd3", s)
}

// Stamp is what version.txt says: for which version and storage a data
// directory is ready.
type Stamp struct {
	Version Version
	Storage Storage
}

// ParseStamp reads "3.5.35/etcd3"; white space around it is dropped.
func ParseStamp(s string) (Stamp, error) {
	s = strings.TrimSpace(s)
	v, st, ok := strings.Cut(s, "/")
	if !ok {
		return Stamp{}, fmt.Errorf("%q is not VERSION/STORAGE, such as 3.5.35/etcd3", s)
	}
	var stamp Stamp
	var err error
	if stamp.Version, err = Parse(v); err != nil {
		return Stamp{}, err
	}
	if stamp.Storage, err = ParseStorage(st); err != nil {
		return Stamp{}, err
	}
	return stamp, nil
}

func (s Stamp) String() string { return s.Version.String() + "/" + string(s.Storage) }

// MarshalText writes a stamp as version.txt has it.
func (s Stamp) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseStamp.
func (s *Stamp) UnmarshalText(b []byte) (err error) {
	*s, err = ParseStamp(string(b))
	return err
}

// FileName is the name of the stamp's file in a data directory, and NextName
// the one it is written under before it is renamed.
const (
	FileName = "version.txt"
	NextName = "version.txt-next"
)

// maxFile bounds the reading of version.txt: no stamp is near as long.
const maxFile = 256

// ReadFile reads dir's version.txt. The error is fs.ErrNotExist when there is
// none, and names the file when it can not be understood.
func ReadFile(dir string) (Stamp, error) {
	name := filepath.Join(dir, FileName)
	f, err := os.Open(name)
	if err != nil {
		return Stamp{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Stamp{}, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(b) > maxFile {
		return Stamp{}, fmt.Errorf("%s: longer than any version", name)
	}
	s, err := ParseStamp(string(b))
	if err != nil {
		return Stamp{}, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// WriteFile makes s dir's version.txt, durably, in one rename, with 0666 less
// the umask. A file that says the same is left alone.
func WriteFile(dir string, s Stamp) error {
	old, err := ReadFile(dir)
	if err == nil && old == s {
		return nil
	}
	if err != nil && errors.Is(err, fs.ErrPermission) {
		return err
	}
	next := filepath.Join(dir, NextName)
	if err := writeSynced(next, []byte(s.String())); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(dir, FileName)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func writeSynced(name string, b []byte) error {
	// Removed first, so that what an earlier run left does not lend its mode.
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

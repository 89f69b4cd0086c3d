package lock

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	hexDigest    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	fingerprint  = regexp.MustCompile(`^[0-9A-F]{40,64}$`)
	snapshotForm = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z$`)
)

// at adds a problem of the value that a key names.
func (r *reader) at(key, format string, args ...any) {
	r.add(r.root.at(key).line, key, format, args...)
}

func (r *reader) digest(key, value string) {
	if !hexDigest.MatchString(value) {
		r.at(key, "%q is no SHA-256: want 64 hexadecimal digits, in lower case", value)
	}
}

func (r *reader) size(key string, n int64) {
	if n <= 0 {
		r.at(key, "%d is no size", n)
	}
}

// below refuses a path that leaves the place which it is relative to.
func (r *reader) below(key, p string) {
	if p == "" || p == "." || path.IsAbs(p) || path.Clean(p) != p || strings.HasPrefix(p, "../") || p == ".." || strings.ContainsAny(p, "\\\x00\n") {
		r.at(key, "%q is no relative path", p)
	}
}

func (r *reader) date(key string, t time.Time) {
	if t.IsZero() || t.Location() != time.UTC {
		r.at(key, "want a date in UTC")
	}
}

// check tells which values can not be right.
func (r *reader) check(l *Lock) {
	if l.FormatVersion < 1 {
		r.at("formatVersion", "%d is no image format: want a number from 1 on", l.FormatVersion)
	}
	if got := ConfigDigest(l.Config); got != l.Profile {
		r.at("profile", "it is %s, and the digest of config is %s: one of them was changed by hand; lock again", l.Profile, got)
	}
	for i, f := range l.Files {
		key := fmt.Sprintf("files[%d]", i)
		r.digest(key+".sha256", f.SHA256)
		if i > 0 && l.Files[i-1].Path >= f.Path {
			r.at(key+".path", "%q is not in order, or there twice", f.Path)
		}
	}
	versions := map[string]bool{}
	for i, e := range l.Etcd {
		key := fmt.Sprintf("etcd[%d]", i)
		if e.Version == "" || versions[e.Version] {
			r.at(key+".version", "%q is empty, or there twice", e.Version)
		}
		versions[e.Version] = true
		r.checkEtcd(key, e)
	}
	if m := l.Migrate; m != nil {
		sum, _ := strings.CutPrefix(m.Sources, "sha256:")
		if !hexDigest.MatchString(sum) || sum == m.Sources {
			r.at("migrate.sources", "%q is no digest: want sha256: and 64 hexadecimal digits, in lower case", m.Sources)
		}
	}
	for i, s := range l.Suites {
		key := fmt.Sprintf("suites[%d]", i)
		r.digest(key+".sha256", s.SHA256)
		r.date(key+".date", s.Date)
		for j, k := range s.SignedBy {
			if !fingerprint.MatchString(k) {
				r.at(fmt.Sprintf("%s.signedBy[%d]", key, j), "%q is no fingerprint of a key", k)
			}
		}
		if len(s.SignedBy) == 0 {
			r.at(key+".signedBy", "nobody has signed this index")
		}
	}
	archs := map[string]bool{}
	for i, d := range l.Debian {
		key := fmt.Sprintf("debian[%d]", i)
		if d.Arch == "" || archs[d.Arch] {
			r.at(key+".arch", "%q is empty, or there twice", d.Arch)
		}
		archs[d.Arch] = true
		for j, p := range d.Packages {
			at := fmt.Sprintf("%s.packages[%d]", key, j)
			r.checkPackage(at, p)
			if j > 0 && d.Packages[j-1].Name >= p.Name {
				r.at(at+".name", "%q is not in order, or there twice", p.Name)
			}
		}
	}
}

func (r *reader) checkEtcd(key string, e Etcd) {
	r.date(key+".date", e.Date)
	for i, edit := range e.Edits {
		for j, f := range edit.Files {
			at := fmt.Sprintf("%s.edits[%d].files[%d]", key, i, j)
			r.digest(at+".after", f.After)
			if f.Before != "" {
				r.digest(at+".before", f.Before)
			}
		}
	}
	if e.Release == nil {
		return
	}
	r.checkFile(key+".release.checksums", e.Release.Checksums)
	for _, arch := range slices.Sorted(maps.Keys(e.Release.Archives)) {
		r.checkFile(key+".release.archives."+arch, e.Release.Archives[arch].File)
	}
}

func (r *reader) checkFile(key string, f File) {
	r.below(key+".path", f.Path)
	r.digest(key+".sha256", f.SHA256)
	r.size(key+".size", f.Size)
}

func (r *reader) checkPackage(key string, p Package) {
	if p.Name == "" || p.Version == "" {
		r.at(key, "a package needs a name and a version")
	}
	r.below(key+".path", p.Path)
	r.digest(key+".sha256", p.SHA256)
	r.size(key+".size", p.Size)
	if p.Snapshot != "" && !snapshotForm.MatchString(p.Snapshot) {
		r.at(key+".snapshot", "%q is no timestamp: want YYYYMMDDTHHMMSSZ", p.Snapshot)
	}
}

// ConfigDigest is the digest of a resolved profile in JSON, as Lock.Profile
// has it; "" for what is no JSON.
func ConfigDigest(config []byte) string {
	var v any
	if json.Unmarshal(config, &v) != nil {
		return ""
	}
	sorted, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return "sha256:" + Sum(sorted)
}

// Sum is the SHA-256 of bytes, in hex.
func Sum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

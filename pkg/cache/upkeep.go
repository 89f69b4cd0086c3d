package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// usedStep is how exactly the time of an entry's last use is kept: a file is
// touched no more often than that.
const usedStep = 12 * time.Hour

// used remembers that an entry was of use, in the time of its file. Where the
// cache can only be read, nothing is remembered.
func used(path string) {
	now := time.Now()
	if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) > usedStep {
		_ = os.Chtimes(path, time.Time{}, now)
	}
}

// entry is a blob or a record.
type entry struct {
	digest string     // of a blob
	record RecordName // of a record
	path   string
	size   int64
	used   time.Time
}

// entries are all blobs and records, in the order of their paths. What appears
// or goes while they are listed may be missing.
func (c *Cache) entries() ([]entry, error) {
	var all []entry
	for _, root := range []string{"blobs/sha256", "records"} {
		root = filepath.Join(c.dir, root)
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			e := entry{path: path, size: info.Size(), used: info.ModTime()}
			if kind := filepath.Base(filepath.Dir(path)); kind == "sha256" {
				e.digest = "sha256:" + d.Name()
			} else {
				e.record = RecordName{kind, d.Name()}
			}
			all = append(all, e)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("listing the cache: %w", err)
		}
	}
	return all, nil
}

// Use is what one kind of records takes.
type Use struct {
	Kind      string `json:"kind"` // of the records; "" for blobs that no record names
	Records   int    `json:"records"`
	Blobs     int    `json:"blobs"` // that these records name, and none of a kind before
	Bytes     int64  `json:"bytes"` // of both
	OldestUse string `json:"oldestUse,omitempty"`
}

var digestForm = regexp.MustCompile(`[0-9a-f]{64}`)

// Info tells what takes how much, by kind of record, blobs that no record
// names last. A blob counts for the first kind whose records have its digest
// anywhere in them.
func (c *Cache) Info() ([]Use, error) {
	all, err := c.entries()
	if err != nil {
		return nil, err
	}
	blobs := map[string]entry{}
	for _, e := range all {
		if e.digest != "" {
			blobs[e.digest] = e
		}
	}
	var uses []Use
	oldest := map[string]time.Time{}
	count := func(kind string, e entry) *Use {
		i := slices.IndexFunc(uses, func(u Use) bool { return u.Kind == kind })
		if i < 0 {
			i = len(uses)
			uses = append(uses, Use{Kind: kind})
		}
		uses[i].Bytes += e.size
		if t, ok := oldest[kind]; !ok || e.used.Before(t) {
			oldest[kind] = e.used
			uses[i].OldestUse = e.used.UTC().Format(time.DateOnly)
		}
		return &uses[i]
	}
	for _, e := range all {
		if e.digest != "" {
			continue
		}
		count(e.record.Kind, e).Records++
		b, err := os.ReadFile(e.path)
		if err != nil {
			continue // gone since
		}
		for _, hexed := range digestForm.FindAllString(string(b), -1) {
			if blob, ok := blobs["sha256:"+hexed]; ok {
				delete(blobs, "sha256:"+hexed)
				count(e.record.Kind, blob).Blobs++
			}
		}
	}
	for _, e := range all {
		if _, left := blobs[e.digest]; left && e.digest != "" {
			count("", e).Blobs++
		}
	}
	return uses, nil
}

// Prune says what may go.
type Prune struct {
	Before time.Time  // what was last used before; none if zero
	Size   int64      // bytes that may stay, the most recently used ones; no bound if negative
	Keep   *Selection // nothing else stays; nil for no such bound
	DryRun bool       // say what would go
}

// Prune removes what may go, and says how much that was. A build that is
// running finds missing what it still needs, and makes it again.
func (c *Cache) Prune(p Prune) (Amount, error) {
	all, err := c.entries()
	if err != nil {
		return Amount{}, err
	}
	kept := map[string]bool{}
	if p.Keep != nil {
		for _, d := range p.Keep.Blobs {
			kept[d] = true
		}
		for _, r := range p.Keep.Records {
			kept[r.Kind+"/"+r.Key] = true
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(b.used.UnixNano(), a.used.UnixNano()) })
	var gone Amount
	var stays int64
	for _, e := range all {
		name := e.digest
		if name == "" {
			name = e.record.Kind + "/" + e.record.Key
		}
		if (p.Keep == nil || kept[name]) && !e.used.Before(p.Before) && (p.Size < 0 || stays+e.size <= p.Size) {
			stays += e.size
			continue
		}
		if !p.DryRun {
			if err := os.Remove(e.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return gone, fmt.Errorf("removing from the cache: %w", err)
			}
		}
		gone.Bytes += e.size
		if e.digest != "" {
			gone.Blobs++
		} else {
			gone.Records++
		}
	}
	return gone, nil
}

// Verify reads everything and removes what is damaged. It returns how much is
// whole, and the names of what was not.
func (c *Cache) Verify(ctx context.Context) (Amount, []string, error) {
	all, err := c.entries()
	if err != nil {
		return Amount{}, nil, err
	}
	var whole Amount
	var damaged []string
	for _, e := range all {
		if err := ctx.Err(); err != nil {
			return whole, damaged, err
		}
		name, ok := e.digest, false
		if name != "" {
			err = c.hashBlob(e.digest)
			ok = err == nil
		} else {
			name = e.record.Kind + "/" + e.record.Key
			_, err = c.RawRecord(e.record)
			ok = err == nil
		}
		switch {
		case ok && e.digest != "":
			whole.Blobs++
			whole.Bytes += e.size
		case ok:
			whole.Records++
			whole.Bytes += e.size
		case errors.Is(err, ErrNotFound):
			damaged = append(damaged, name)
			if err := os.Remove(e.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return whole, damaged, fmt.Errorf("removing from the cache: %w", err)
			}
		default:
			return whole, damaged, err
		}
	}
	return whole, damaged, nil
}

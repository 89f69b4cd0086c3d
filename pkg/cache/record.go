package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Key is the hex SHA-256 of the given strings, each with its length, so that no
// two lists run together to the same key. It is the usual way to a record's
// key.
func Key(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ReadRecord decodes the record of that kind and key into v. A record that is
// missing, damaged, or not of v's form is ErrNotFound.
func (c *Cache) ReadRecord(kind, key string, v any) error {
	path, err := c.recordPath(kind, key)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("record %s/%s: %w", kind, key, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("reading the cache: %w", err)
	}
	if _, body, _ := bytes.Cut(b, []byte("\n")); wholeRecord(RecordName{kind, key}, b) && json.Unmarshal(body, v) == nil {
		used(path)
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing damaged record %s/%s: %w", kind, key, err)
	}
	return fmt.Errorf("record %s/%s was damaged and has been removed: %w", kind, key, ErrNotFound)
}

// WriteRecord stores v as JSON under that kind and key, in place of what was
// there. kind is a short word; key is a hex digest of all that determines v.
func (c *Cache) WriteRecord(kind, key string, v any) error {
	path, err := c.recordPath(kind, key)
	if err != nil {
		return err
	}
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding record %s/%s: %w", kind, key, err)
	}
	return c.placeRecord(path, append([]byte(recordSum(kind, key, body)+"\n"), body...))
}

// recordSum covers the place too: a record that was moved is not the record.
func recordSum(kind, key string, body []byte) string {
	return "sha256:" + Key(kind, key, string(body))
}

func (c *Cache) recordPath(kind, key string) (string, error) {
	for _, r := range kind {
		if (r < 'a' || r > 'z') && r != '-' {
			return "", fmt.Errorf("record kind %q: want lower-case letters and dashes", kind)
		}
	}
	if kind == "" || !isHex(key) {
		return "", fmt.Errorf("record %q/%q: want a kind and a hex key", kind, key)
	}
	return filepath.Join(c.dir, "records", kind, key), nil
}

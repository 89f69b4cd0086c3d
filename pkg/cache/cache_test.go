package cache_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/etcdimg/etcdimg/pkg/cache"
)

// helloDigest is what `printf hello | sha256sum` prints.
const helloDigest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

func openCache(t *testing.T, dir string) *cache.Cache {
	t.Helper()
	c, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func put(t *testing.T, c *cache.Cache, content string) string {
	t.Helper()
	digest, size, err := c.Put(t.Context(), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if size != int64(len(content)) {
		t.Fatalf("Put says %d bytes, want %d", size, len(content))
	}
	return digest
}

func read(t *testing.T, c *cache.Cache, digest string) string {
	t.Helper()
	f, err := c.Open(digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func blobFile(c *cache.Cache, digest string) string {
	return filepath.Join(c.Dir(), "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

// damage flips one bit of a file, the size kept.
func damage(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	overwrite(t, path, b)
}

func overwrite(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsPutComesBackByItsDigest(t *testing.T) {
	c := openCache(t, t.TempDir())
	digest := put(t, c, "hello")
	if digest != helloDigest {
		t.Fatalf("digest %s, want %s", digest, helloDigest)
	}
	if !c.Has(digest) {
		t.Error("Has says that it is not there")
	}
	if got := read(t, c, digest); got != "hello" {
		t.Errorf("read %q", got)
	}
	if got := read(t, openCache(t, c.Dir()), digest); got != "hello" {
		t.Errorf("another opening of the cache read %q", got)
	}
}

func TestPutFileMovesTheFileIn(t *testing.T) {
	c := openCache(t, t.TempDir())
	dir, remove, err := c.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	path := filepath.Join(dir, "made")
	if err := os.WriteFile(path, []byte("hello"), 0o755); err != nil {
		t.Fatal(err)
	}
	digest, size, err := c.PutFile(t.Context(), path)
	if err != nil || digest != helloDigest || size != 5 {
		t.Fatalf("PutFile gives %s, %d, %v", digest, size, err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still at its old place: %v", err)
	}
	if got := read(t, c, digest); got != "hello" {
		t.Errorf("read %q", got)
	}
}

func TestBlobsCanNotBeWrittenThroughTheirNames(t *testing.T) {
	c := openCache(t, t.TempDir())
	info, err := os.Stat(blobFile(c, put(t, c, "hello")))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o444 {
		t.Errorf("mode %v, want 0444", info.Mode().Perm())
	}
}

func TestAMissingBlobIsNotFound(t *testing.T) {
	c := openCache(t, t.TempDir())
	if c.Has(helloDigest) {
		t.Error("Has says that it is there")
	}
	if _, err := c.Open(helloDigest); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("Open: %v", err)
	}
	if err := c.Link(helloDigest, filepath.Join(t.TempDir(), "x")); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("Link: %v", err)
	}
}

func TestWhatIsNoDigestIsRefused(t *testing.T) {
	c := openCache(t, t.TempDir())
	for _, digest := range []string{
		"", "sha256:", "sha512:" + helloDigest[7:], helloDigest[7:], helloDigest + "0", strings.ToUpper(helloDigest),
		"sha256:../../../../../../../../../../../../../../../../../../etc/passwd0",
	} {
		if c.Has(digest) {
			t.Errorf("Has(%q)", digest)
		}
		if _, err := c.Open(digest); err == nil || errors.Is(err, cache.ErrNotFound) {
			t.Errorf("Open(%q): %v, want an error that tells of the digest", digest, err)
		}
	}
}

func TestADamagedBlobIsDroppedAndMadeWholeAgain(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, path string){
		"flipped bit": damage,
		"cut short":   func(t *testing.T, path string) { overwrite(t, path, []byte("hel")) },
		"emptied":     func(t *testing.T, path string) { overwrite(t, path, nil) },
		"longer":      func(t *testing.T, path string) { overwrite(t, path, []byte("hello!")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			digest := put(t, openCache(t, dir), "hello")
			c := openCache(t, dir) // as a later process
			harm(t, blobFile(c, digest))
			if _, err := c.Open(digest); !errors.Is(err, cache.ErrNotFound) {
				t.Fatalf("Open: %v, want ErrNotFound", err)
			}
			if c.Has(digest) {
				t.Error("the damaged blob is still there")
			}
			if put(t, c, "hello") != digest || read(t, c, digest) != "hello" {
				t.Error("the blob did not come back")
			}
		})
	}
}

func TestPutReplacesADamagedBlob(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, dir)
	digest := put(t, c, "hello")
	damage(t, blobFile(c, digest))
	put(t, openCache(t, dir), "hello")
	if got := read(t, openCache(t, dir), digest); got != "hello" {
		t.Errorf("read %q", got)
	}
}

func TestADamagedBlobIsNeverLinked(t *testing.T) {
	dir := t.TempDir()
	digest := put(t, openCache(t, dir), "hello")
	c := openCache(t, dir)
	damage(t, blobFile(c, digest))
	dst := filepath.Join(t.TempDir(), "x")
	if err := c.Link(digest, dst); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("Link: %v, want ErrNotFound", err)
	}
	if _, err := os.Lstat(dst); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

func TestLinkSharesTheFile(t *testing.T) {
	c := openCache(t, t.TempDir())
	digest := put(t, c, "hello")
	dst := filepath.Join(c.Dir(), "linked")
	if err := c.Link(digest, dst); err != nil {
		t.Fatal(err)
	}
	a, err := os.Stat(dst)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(blobFile(c, digest))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(a, b) {
		t.Error("the blob was copied")
	}
	if err := c.Link(digest, dst); !errors.Is(err, fs.ErrExist) {
		t.Errorf("linking over a file: %v", err)
	}
}

func TestLinkCopiesWhereItCanNotLink(t *testing.T) {
	const memory = "/dev/shm"
	dst, err := os.MkdirTemp(memory, "etcdimg-test-")
	if err != nil {
		t.Skipf("SKIPPED, copying between file systems is NOT tested: no second file system at %s: %v", memory, err)
	}
	defer os.RemoveAll(dst)
	c := openCache(t, t.TempDir())
	digest := put(t, c, "hello")
	file := filepath.Join(dst, "copied")
	if os.Link(blobFile(c, digest), file) == nil {
		t.Skipf("SKIPPED, copying between file systems is NOT tested: %s is on the same file system as %s", memory, c.Dir())
	}
	if err := c.Link(digest, file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil || string(b) != "hello" {
		t.Errorf("the copy reads %q, %v", b, err)
	}
	if err := c.Link(digest, file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("copying over a file: %v", err)
	}
}

func TestAFailedReadStoresNothing(t *testing.T) {
	c := openCache(t, t.TempDir())
	broken := errors.New("the source broke")
	_, _, err := c.Put(t.Context(), io.MultiReader(strings.NewReader("hel"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("Put: %v", err)
	}
	if strings.Contains(err.Error(), "writing") {
		t.Errorf("%q blames the cache for its source", err)
	}
	if left := filesBelow(t, filepath.Join(c.Dir(), "blobs")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestACancelledPutStops(t *testing.T) {
	c := openCache(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	endless := readerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})
	if _, _, err := c.Put(ctx, endless); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
	if left := filesBelow(t, filepath.Join(c.Dir(), "blobs")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestManyGoroutinesPutTheSame(t *testing.T) {
	c := openCache(t, t.TempDir())
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			digest, _, err := c.Put(context.Background(), strings.NewReader("hello"))
			if err != nil || digest != helloDigest {
				t.Errorf("Put: %s, %v", digest, err)
				return
			}
			f, err := c.Open(digest)
			if err != nil {
				t.Error(err)
				return
			}
			f.Close()
		})
	}
	wg.Wait()
	if files := filesBelow(t, filepath.Join(c.Dir(), "blobs")); len(files) != 1 {
		t.Errorf("%d files for one blob: %v", len(files), files)
	}
}

func TestCloseLeavesOnlyBlobsAndRecords(t *testing.T) {
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	digest := put(t, c, "hello")
	dir, _, err := c.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	// A compiler's module cache has directories that can not be written.
	if err := os.MkdirAll(filepath.Join(dir, "mod", "pkg"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "mod"), 0o555); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(c.Dir(), "tmp"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if read(t, c, digest) != "hello" {
		t.Error("the blob went with the temporary files")
	}
}

package profile_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/profile"
)

// TestReferenceIsInTheDocuments holds docs/profile.md against the types: the
// table after the mark is theirs, what stands before it is written by hand.
func TestReferenceIsInTheDocuments(t *testing.T) {
	const file = "../../docs/profile.md"
	mark := []byte("<!-- go test ./pkg/profile -update writes what follows -->\n\n")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, _, ok := bytes.Cut(text, mark)
	if !ok {
		t.Fatalf("%s has no line %q", file, mark)
	}
	golden(t, file, bytes.Join([][]byte{before, mark, profile.Reference()}, nil))
}

package etcd

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// parseSums reads a SHA256SUMS file as sha256sum(1) writes it: for each file
// 64 hex digits, two spaces or a space and an asterisk, and a name. It returns
// the digests, in lower case, by name.
func parseSums(b []byte) (map[string]string, error) {
	if bytes.IndexByte(b, 0) >= 0 {
		return nil, errors.New("it is no text")
	}
	sums := map[string]string{}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		digest, name, ok := strings.Cut(line, " ")
		if !ok || len(name) < 2 || name[0] != ' ' && name[0] != '*' {
			return nil, fmt.Errorf("line %d is not a digest, two spaces and a name", n)
		}
		digest, name = strings.ToLower(digest), strings.TrimPrefix(name[1:], "./")
		if !hexDigest.MatchString(digest) {
			return nil, fmt.Errorf("line %d: %q is not a SHA-256", n, digest)
		}
		if other, there := sums[name]; there && other != digest {
			return nil, fmt.Errorf("line %d: %s is there twice, with different digests", n, name)
		}
		sums[name] = digest
	}
	if len(sums) == 0 {
		return nil, errors.New("it lists nothing")
	}
	return sums, nil
}

package debian

import (
	"fmt"
	"testing"
)

func TestDependencyFieldsAreParsed(t *testing.T) {
	for _, c := range []struct{ field, want string }{
		{"", "[]"},
		{"libc6", "[libc6]"},
		{"libc6 (>= 2.38), debconf (>= 0.5) | debconf-2.0,", "[libc6 (>= 2.38) debconf (>= 0.5) | debconf-2.0]"},
		{"a1(=1:2-3)", "[a1 (= 1:2-3)]"},
		{"perl:any(>=5)\n , python3:native  (<< 4)", "[perl:any (>= 5) python3:native (<< 4)]"},
		{"aa (< 2) | bb (> 3)", "[aa (<= 2) | bb (>= 3)]"},
		{"aa [amd64], bb [!amd64], cc [linux-any], dd [any-amd64 s390x] | ee", "[aa cc dd | ee]"},
	} {
		got, err := parseDepends(c.field, "amd64")
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%q: %v, %v, want %s", c.field, got, err, c.want)
		}
	}
	for _, bad := range []string{"a b", "aa (>= 1", "aa ()", "aa (~ 1)", "aa (>= 1) (<< 2)", "Aa", "aa (= 1:)", "aa |", "aa [amd64 !s390x]", "aa <!nocheck>", "-a"} {
		if got, err := parseDepends(bad, "amd64"); err == nil {
			t.Errorf("%q is taken for %v", bad, got)
		}
	}
}

package debian_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/debian"
)

// ascending are versions in order, each later than the one before.
var ascending = []string{
	"0~~", "0~", "0", "0+", "0.0~rc1", "0.0", "0.1", "1.0~~", "1.0~~a", "1.0~", "1.0~1", "1.0~a", "1.0", "1.0-0.1", "1.0-1~bpo1", "1.0-1", "1.0-1+b1", "1.0-1.1", "1.0-10",
	"1.0a", "1.0ab", "1.0b", "1.0+", "1.0+a", "1.0.0", "1.0.1", "1.1", "1.9", "1.10", "2025b-0+deb13u1", "2025b-4+deb13u1", "2026c-0+deb13u1",
	"1:0", "1:1.0:2-1", "2:0~", "10:0",
}

func TestVersionsAreOrderedAsDebVersionSays(t *testing.T) {
	for i, a := range ascending {
		if !debian.ValidVersion(a) {
			t.Errorf("%s is not valid", a)
		}
		for j, b := range ascending {
			got, want := debian.CompareVersions(a, b), i-j
			if (got < 0) != (want < 0) || (got > 0) != (want > 0) {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
	for _, equal := range [][2]string{{"1.0", "0:1.0"}, {"1.0", "1.00"}, {"1.0", "01.0"}, {"1.0", "1.0-0"}, {"1.0-", "1.0"}, {"1.a", "1.a0"}} {
		if d := debian.CompareVersions(equal[0], equal[1]); d != 0 {
			t.Errorf("%s against %s: %d", equal[0], equal[1], d)
		}
	}
}

func TestWhatIsNoVersion(t *testing.T) {
	for _, bad := range []string{"", ":1", "a:1", "1:", "1-", "1 0", "1_0", "1.0-ä", "1/2", "9999999999:1", "1\n"} {
		if debian.ValidVersion(bad) {
			t.Errorf("%q is valid", bad)
		}
	}
}

// randomVersion makes versions that are often alike.
func randomVersion(r *rand.Rand) string {
	pick := func(n int, from string) string {
		b := make([]byte, r.IntN(n))
		for i := range b {
			b[i] = from[r.IntN(len(from))]
		}
		return string(b)
	}
	v := "0" + pick(6, "0019a~+.Z")
	if r.IntN(3) == 0 {
		v = []string{"0:", "1:", "00:"}[r.IntN(3)] + v
	}
	if r.IntN(2) == 0 {
		v += "-0" + pick(4, "01a~+.")
	}
	return v
}

func TestVersionOrderIsATotalOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		a, b, c := randomVersion(r), randomVersion(r), randomVersion(r)
		if debian.CompareVersions(a, a) != 0 {
			t.Fatalf("%s is not equal to itself", a)
		}
		ab, ba := debian.CompareVersions(a, b), debian.CompareVersions(b, a)
		if (ab < 0) != (ba > 0) || (ab == 0) != (ba == 0) {
			t.Fatalf("%s against %s: %d, but %d", a, b, ab, ba)
		}
		three := []string{a, b, c}
		slices.SortFunc(three, debian.CompareVersions)
		if debian.CompareVersions(three[0], three[2]) > 0 {
			t.Fatalf("not transitive: %v", three)
		}
		if ab == 0 && (debian.CompareVersions(a, c) < 0) != (debian.CompareVersions(b, c) < 0) {
			t.Fatalf("%s and %s are equal but differ against %s", a, b, c)
		}
	}
}

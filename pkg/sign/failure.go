package sign

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Failure is a check that did not pass.
type Failure struct {
	Check    string `json:"check"`    // signature, subject, policy.max-age, …
	Digest   string `json:"digest"`   // of what was checked
	Expected string `json:"expected"` // for people
	Found    string `json:"found"`
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%s of %s: expected %s, found %s", f.Check, f.Digest, f.Expected, f.Found)
}

func fail(check string, digest v1.Hash, expected, found string) error {
	return &Failure{Check: check, Digest: digest.String(), Expected: expected, Found: found}
}

// Package sign makes and checks signatures and attestations of images, in the
// forms that cosign reads and writes: about a digest, beside the image, in a
// registry or in an OCI layout.
//
// A signature is over cosign's simple signing payload, which names the digest;
// an attestation is an in-toto statement (v1) about the digest in a DSSE
// envelope (v1.0). Three forms carry them: the tags sha256-<hex>.sig and .att,
// which every consumer reads by default; referrers of OCI 1.1; and sigstore's
// bundles (v0.3), which are referrers too. One signing writes one form.
//
// Checking needs no network beyond the place where the image is: keys,
// certificates of authorities and keys of logs are given. Nothing that a
// registry or a layout hands out is believed before it was held against its
// digest, its size, and the signature.
//
// The package must not know what a predicate says.
package sign

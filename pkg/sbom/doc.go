// Package sbom says what is in an image: SPDX 2.3 and CycloneDX 1.6, for an
// image and for an index of images. syft finds what can be found in the files;
// what the build knows of them completes it: sums, sources, licences,
// suppliers, and which component put a file there.
//
// Everything that it writes follows from its input alone: no clock, no host,
// no order of a map is in it. It must not know signing, nor how the image was
// made; what it is told comes as values.
package sbom

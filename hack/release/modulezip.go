package main

import (
	stdzip "archive/zip"
	"bytes"
	"context"
	"io"
	"io/fs"
	"os/exec"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// moduleZip is the module's archive as the go command makes it of the commit. It
// is done here and not by zip.CreateFromVCS, which knows no git worktrees.
func (r *release) moduleZip(ctx context.Context) ([]byte, error) {
	// The settings are the go command's: no line end is changed.
	cmd := exec.CommandContext(ctx, "git", "-c", "core.autocrlf=input", "-c", "core.eol=lf", "archive", "--format=zip", r.commit)
	cmd.Dir = r.repo
	out, err := output(cmd)
	if err != nil {
		return nil, err
	}
	archived, err := stdzip.NewReader(strings.NewReader(out), int64(len(out)))
	if err != nil {
		return nil, err
	}
	var files []zip.File
	for _, f := range archived.File {
		if !strings.HasSuffix(f.Name, "/") {
			files = append(files, archivedFile{f})
		}
	}
	var made bytes.Buffer
	err = zip.Create(&made, module.Version{Path: modulePath, Version: r.version}, files)
	return made.Bytes(), err
}

// archivedFile is a file of a commit.
type archivedFile struct{ *stdzip.File }

func (f archivedFile) Path() string                 { return f.Name }
func (f archivedFile) Lstat() (fs.FileInfo, error)  { return f.FileInfo(), nil }
func (f archivedFile) Open() (io.ReadCloser, error) { return f.File.Open() }

package fetch

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// ParseBase reads where a tree of files is to be had: an http, https or file
// URL, or the path of a local folder. It returns a URL.
func ParseBase(s string) (string, error) {
	if !strings.Contains(s, "://") {
		if s == "" {
			return "", fmt.Errorf("no URL and no folder is given")
		}
		abs, err := filepath.Abs(s)
		if err != nil {
			return "", err
		}
		return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String(), nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", err
	case u.Scheme == "file" && u.Host != "" && u.Host != "localhost":
		return "", fmt.Errorf("%q is a file on another host; write file:///PATH", s)
	case u.Scheme == "file" && u.Path != "":
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
	default:
		return "", fmt.Errorf("%q is neither an http, https or file URL nor a folder", u.Redacted())
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q must have neither a query nor a fragment", u.Redacted())
	}
	return u.String(), nil
}

// Join appends a path, with slashes, to a base URL.
func Join(base, rel string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base + "/" + rel // nothing is fetched from what is no URL
	}
	u.Path, u.RawPath = path.Join("/", u.Path, rel), ""
	return u.String()
}

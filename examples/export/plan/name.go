package plan

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Job names the export by its output, whatever way leads to the file. Where state is a
// folder, the output counts as it is seen from there, so that both can be moved
// together, or the folder renamed that both are in; where it is "", by its whole path.
func Job(out, state string) (string, error) {
	path, err := Real(out)
	if err != nil {
		return "", fmt.Errorf("the folder of -out: %w", err)
	}
	seen := path
	if state != "" {
		if seen, err = From(state, path); err != nil {
			return "", err
		}
	}
	sum := sha256.Sum256([]byte(seen))
	name := filepath.Base(seen)
	if name == ".." || name == "." {
		name = "folder" // it has the state in it
	}
	return fmt.Sprintf("%.100s-%x", strings.ToValidUTF8(name, "_"), sum[:6]), nil
}

// From returns a path as it is seen from a folder; where no way leads there, on another
// drive say, the path itself. The folder need not exist yet.
func From(folder, path string) (string, error) {
	folder, err := Real(folder)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(folder, path)
	if err != nil {
		return path, nil
	}
	return filepath.ToSlash(rel), nil
}

// Real returns the whole path of a file that need not be there, without symbolic links,
// those to a file that is to be made included. The folder that it is in must be there.
func Real(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range 100 { // as many links as a chain may have, and more
		if target, err := filepath.EvalSymlinks(path); err == nil {
			return target, nil
		}
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		link, err := os.Readlink(path)
		if err != nil {
			return path, nil
		}
		if path = link; !filepath.IsAbs(link) {
			path = filepath.Join(dir, link)
		}
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

// endings are those that a part's number stands before.
var endings = []string{".gz", ".gzip", ".zst", ".zstd", ".csv", ".tsv", ".tab", ".jsonl", ".ndjson"}

// PartFile puts the number of a part before a file's endings: a.2of4.csv.gz.
func PartFile(out string, i, n int) string {
	name, tail := filepath.Base(out), ""
	if n == 1 {
		return name
	}
	for _, ending := range endings {
		if rest, ok := strings.CutSuffix(name, ending); ok && rest != "" {
			name, tail = rest, ending+tail
		}
	}
	return fmt.Sprintf("%s.%dof%d%s", name, i+1, n, tail)
}

// FileName makes a file's name of a table's, which must not lead out of the folder.
func FileName(table string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) || r < ' ' {
			return '_'
		}
		return r
	}, table)
}

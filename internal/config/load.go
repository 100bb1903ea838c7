package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"thinctl/internal/names"
)

// Sources holds the sources of the settings. The zero value is the default file.
type Sources struct {
	// Path is the file. It is "" for the default file, which need not exist.
	Path   string
	Getenv func(string) string // nil: no environment
	Flags  map[string]Flag     // by key
}

// Flag is a value from the command line.
type Flag struct{ Name, Value string }

// Load reads all sources. Its error is a Faults or an error of reading the file.
func Load(from Sources) (Config, error) {
	path := from.Path
	if path == "" {
		path = Path
	}
	raw, err := os.ReadFile(path)
	if from.Path == "" && errors.Is(err, fs.ErrNotExist) {
		return Parse(nil, "", from)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(raw, path, from)
}

// Parse does the same as Load with the contents of the file.
func Parse(raw []byte, path string, from Sources) (Config, error) {
	l := loading{Config: defaults()}
	l.path, l.origins = path, map[string]Origin{}
	l.pools, l.containerds = map[string]Pool{}, map[string]Containerd{}
	file, err := readFile(raw)
	if err != nil {
		return Config{}, Faults{syntaxFault(path, raw, err)}
	}
	pools, containerds := l.readGlobal(file)
	l.readOutside(from)
	l.readPools(pools)
	l.readContainerds(containerds)
	l.checkAll()
	if len(l.faults) > 0 {
		slices.SortStableFunc(l.faults, func(a, b Fault) int { return a.Origin.Line - b.Origin.Line })
		return l.Config, l.faults
	}
	return l.Config, nil
}

// loading is a Config that is being read.
type loading struct {
	Config
	faults Faults
}

// readGlobal reads the entries outside [pools] and [containerd], and returns the others.
func (l *loading) readGlobal(file []entry) (pools, containerds []entry) {
	for _, e := range file {
		switch {
		case e.key[0] == "pools":
			pools = append(pools, e)
		case e.key[0] == "containerd":
			containerds = append(containerds, e)
		case e.table:
			if name := strings.Join(e.key, "."); name != "serve" && name != "extend" {
				l.unknown(e)
			}
		default:
			l.read(l.keys(), e, strings.Join(e.key, "."))
		}
	}
	return pools, containerds
}

// readPools reads the entries below [pools].
func (l *loading) readPools(file []entry) {
	for _, e := range file {
		if len(e.key) == 1 {
			if !e.table {
				l.fault(e, "pools", bad("write [pools.NAME]", "not a table"))
			}
			continue
		}
		pool := e.key[1]
		if names.Pool.Check(pool) != nil {
			if len(e.key) == 2 {
				l.fault(e, "pools."+pool, bad("`thinctl pool list` shows the pools", "not a valid name of a pool"))
			}
			continue
		}
		own, known := l.pools[pool]
		if !known {
			own = l.Pool
		}
		rest := strings.Join(e.key[2:], ".")
		switch {
		case rest == "" && !e.table:
			l.fault(e, "pools."+pool, bad("write [pools."+pool+"]", "not a table"))
			continue
		case e.table && rest != "" && rest != "extend":
			l.unknown(e)
		case !e.table:
			l.read(poolKeys(&own), e, rest)
		}
		l.pools[pool] = own
	}
}

// read sets one of the keys, by its name, to the value of an entry.
func (l *loading) read(keys []key, e entry, name string) {
	for _, k := range keys {
		if k.name != name {
			continue
		}
		full := strings.Join(e.key, ".")
		if err := k.set(e.value); err != nil {
			l.fault(e, full, err)
			return
		}
		l.origins[full] = l.originOf(e)
		return
	}
	l.unknown(e)
}

// readOutside reads variables, and then flags, which take precedence.
func (l *loading) readOutside(from Sources) {
	set := func(k key, origin Origin, word string) {
		if err := k.set(text(word)); err != nil {
			l.faults = append(l.faults, faultOf(origin, k.name, err))
			return
		}
		l.origins[k.name] = origin
	}
	for _, k := range l.keys() {
		if from.Getenv != nil {
			if word := from.Getenv(k.variable()); word != "" {
				set(k, Origin{Name: k.variable()}, word)
			}
		}
		if flag, ok := from.Flags[k.name]; ok {
			set(k, Origin{Name: "--" + flag.Name}, flag.Value)
		}
	}
}

func (l *loading) originOf(e entry) Origin { return Origin{Name: l.path, Line: e.line} }

func (l *loading) fault(e entry, key string, err error) {
	l.faults = append(l.faults, faultOf(l.originOf(e), key, err))
}

func (l *loading) unknown(e entry) {
	what := "no such key"
	if e.table {
		what = "no such table"
	}
	name := strings.Join(e.key, ".")
	remedy := "`thinctl config sample` shows all keys"
	if near := suggestion(name); near != "" {
		remedy = "did you mean " + near + "?"
	}
	l.faults = append(l.faults, Fault{l.originOf(e), name, what, remedy})
}

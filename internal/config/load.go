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

// Sources are what values are taken from. The zero value is the default file.
type Sources struct {
	// Path is the file. The default one, meant by "", need not exist.
	Path   string
	Getenv func(string) string // nil: no environment
	Flags  map[string]Flag     // by key
}

// Flag is a value from the command line.
type Flag struct{ Name, Value string }

// Load reads all sources. Its error is Faults, or one of reading the file.
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
		return Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(raw, path, from)
}

// Parse is Load of what a file holds.
func Parse(raw []byte, path string, from Sources) (Config, error) {
	l := loading{path: path, global: defaults(), origins: map[string]Origin{}, pools: map[string]settings{}, containerds: map[string]settings{}}
	file, err := readFile(raw)
	if err != nil {
		return Config{}, Faults{syntaxFault(path, raw, err)}
	}
	own, containerds := l.takeGlobal(file)
	l.takeOutside(from)
	l.takeOwn(own)
	l.takeContainerds(containerds)
	l.checkAll()
	c := Config{Root: l.global.root, BusyTimeout: l.global.busyTimeout, Serve: l.global.serve, Pool: l.global.pool, path: path, pools: l.pools, containerds: l.containerds, origins: l.origins}
	if len(l.faults) > 0 {
		slices.SortStableFunc(l.faults, func(a, b Fault) int { return a.Origin.Line - b.Origin.Line })
		return c, l.faults
	}
	return c, nil
}

// loading is a Config while it is put together.
type loading struct {
	path    string
	global  settings
	pools   map[string]settings
	origins map[string]Origin
	faults  Faults
	// containerds are the tables of that name.
	containerds map[string]settings
}

// takeGlobal takes what is not below [pools] and [containerd], and returns what is.
func (l *loading) takeGlobal(file []entry) (own, containerds []entry) {
	for _, e := range file {
		switch {
		case e.key[0] == "pools":
			own = append(own, e)
		case e.key[0] == "containerd":
			containerds = append(containerds, e)
		case e.table:
			if name := strings.Join(e.key, "."); name != "serve" && name != "extend" {
				l.unknown(e)
			}
		default:
			l.take(&l.global, e, func(k key) string { return k.name }, strings.Join(e.key, "."))
		}
	}
	return own, containerds
}

// takeOwn takes what stands below [pools].
func (l *loading) takeOwn(file []entry) {
	for _, e := range file {
		if len(e.key) == 1 {
			if !e.table {
				l.fault(e, "pools", bad("write [pools.NAME]", "it is no table"))
			}
			continue
		}
		pool := e.key[1]
		if names.Pool.Check(pool) != nil {
			if len(e.key) == 2 {
				l.fault(e, "pools."+pool, bad("`thinctl pool list` shows the pools", "no pool can have that name"))
			}
			continue
		}
		s, known := l.pools[pool]
		if !known {
			s = l.global
		}
		rest := strings.Join(e.key[2:], ".")
		switch {
		case rest == "" && !e.table:
			l.fault(e, "pools."+pool, bad("write [pools."+pool+"]", "it is no table"))
			continue
		case e.table && rest != "" && rest != "extend":
			l.unknown(e)
		case !e.table:
			l.take(&s, e, func(k key) string { return k.own }, rest)
		}
		l.pools[pool] = s
	}
}

func (l *loading) take(s *settings, e entry, named func(key) string, name string) {
	l.takeOf(keys(), s, e, named, name)
}

func (l *loading) takeOf(known []key, s *settings, e entry, named func(key) string, name string) {
	for _, k := range known {
		if name == "" || named(k) != name {
			continue
		}
		full := strings.Join(e.key, ".")
		if err := k.set(s, e.value); err != nil {
			l.fault(e, full, err)
			return
		}
		l.origins[full] = l.at(e)
		return
	}
	l.unknown(e)
}

// takeOutside takes variables, and over them flags.
func (l *loading) takeOutside(from Sources) {
	set := func(k key, origin Origin, word string) {
		if err := k.set(&l.global, text(word)); err != nil {
			l.faults = append(l.faults, faultOf(origin, k.name, err))
			return
		}
		l.origins[k.name] = origin
	}
	for _, k := range keys() {
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

func (l *loading) at(e entry) Origin { return Origin{Name: l.path, Line: e.line} }

func (l *loading) fault(e entry, key string, err error) {
	l.faults = append(l.faults, faultOf(l.at(e), key, err))
}

func (l *loading) unknown(e entry) {
	what := "no such key"
	if e.table {
		what = "no such table"
	}
	name := strings.Join(e.key, ".")
	remedy := "`thinctl config sample` has all of them"
	if near := nearestKey(name); near != "" {
		remedy = "did you mean " + near + "?"
	}
	l.faults = append(l.faults, Fault{l.at(e), name, what, remedy})
}

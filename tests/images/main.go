// Command images writes the images of imagetest to files.
//
//	go run ./tests/images -out seeds.tar one two
//	go run ./tests/images -format oci -compression zstd -out special.tar special
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"thinctl/internal/testkit/imagetest"
)

type options struct {
	scale                    int64
	compressible             bool
	format, compression, out string
}

func main() {
	var o options
	flag.Int64Var(&o.scale, "scale", 1, "the seeds' layers are so many times smaller")
	flag.BoolVar(&o.compressible, "compressible", false, "half of the seeds' files are text")
	flag.StringVar(&o.format, "format", "docker", "docker, oci, or layer: the first image's top layer alone")
	flag.StringVar(&o.compression, "compression", "", "of an OCI layout's layers: gzip or zstd; none")
	flag.StringVar(&o.out, "out", "-", "the file; - is standard output")
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "Usage: images [flags] IMAGE...\n\nIMAGE is one of %s.\n\n", strings.Join(names(), ", "))
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := o.run(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func names() []string {
	return []string{"one", "two", "deep", "crowd", "sparse", "gnusparse", "links", "special", "plain500"}
}

func (o options) image(name string) (imagetest.Image, error) {
	one, two := imagetest.Seeds(imagetest.SeedOptions{Scale: o.scale, Compressible: o.compressible})
	all := []func() imagetest.Image{
		func() imagetest.Image { return one },
		func() imagetest.Image { return two },
		func() imagetest.Image { return imagetest.Deep(127) },
		func() imagetest.Image { return imagetest.Crowd(100_000) },
		func() imagetest.Image { return imagetest.Sparse(4<<30, false) },
		func() imagetest.Image { return imagetest.Sparse(4<<30, true) },
		imagetest.Links,
		imagetest.Special,
		func() imagetest.Image { return imagetest.Plain("thinctl/plain500", 500*imagetest.MB, 8) },
	}
	i := slices.Index(names(), name)
	if i < 0 {
		return imagetest.Image{}, fmt.Errorf("no image %q: there are %s", name, strings.Join(names(), ", "))
	}
	return all[i](), nil
}

func (o options) run(args []string) error {
	if len(args) == 0 {
		return errors.New("no image given: -help lists the names")
	}
	var built []*imagetest.Built
	for _, name := range args {
		image, err := o.image(name)
		if err != nil {
			return err
		}
		b, err := imagetest.Build(image)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s %s, %d layers, %d bytes\n", name, b.ID, len(b.Contents), b.Size())
		built = append(built, b)
	}
	to := os.Stdout
	if o.out != "-" {
		file, err := os.Create(o.out)
		if err != nil {
			return err
		}
		defer file.Close()
		to = file
	}
	w := bufio.NewWriterSize(to, 1<<20)
	if err := o.write(w, built); err != nil {
		return err
	}
	return w.Flush()
}

func (o options) write(w io.Writer, built []*imagetest.Built) error {
	switch o.format {
	case "docker":
		return imagetest.WriteDocker(w, built...)
	case "oci":
		return imagetest.WriteOCI(w, imagetest.Compression(o.compression), built...)
	case "layer":
		return built[0].Contents[len(built[0].Contents)-1].WriteTar(w)
	default:
		return fmt.Errorf("no format %q", o.format)
	}
}

package main

import "thinctl/internal/cli"

func main() { cli.Main() }

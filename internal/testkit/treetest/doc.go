// Package treetest changes file trees at random, for tests that compare trees.
//
//	g := &treetest.Generator{T: t, Random: random, Root: root}
//	for range 40 {
//		g.Create()
//	}
//	...
//	for range 12 {
//		g.Change()
//	}
package treetest

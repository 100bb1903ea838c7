// Package layertar x.
package layertar

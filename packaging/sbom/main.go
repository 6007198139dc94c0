// Command sbom writes what is in the packages as an SPDX 2.3 document: the programs, the
// modules and the Go release that the build wrote into them, and the pause image. The same
// files give the same document, byte for byte.
package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	name := flag.String("name", "", "what the document is about, such as ecs-agent_0.1.0_amd64")
	version := flag.String("version", "", "its version")
	arch := flag.String("arch", "", "architecture that the programs must be for, as in GOARCH; empty: any")
	created := flag.String("time", "0", "seconds since 1970 (SOURCE_DATE_EPOCH)")
	output := flag.String("o", "", "the document to write")
	flag.Parse()
	if err := run(*name, *version, *arch, *created, *output, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(name, version, arch, created, output string, files []string) error {
	seconds, err := strconv.ParseInt(created, 10, 64)
	if err != nil {
		return fmt.Errorf("-time %q: want seconds since 1970", created)
	}
	doc, err := describe(name, version, arch, time.Unix(seconds, 0), files)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the document: %w", err)
	}
	return os.WriteFile(output, append(text, '\n'), 0o644)
}

// document and what follows are of https://spdx.github.io/spdx-spec/v2.3/.
type document struct {
	SPDXVersion       string         `json:"spdxVersion"`
	DataLicense       string         `json:"dataLicense"`
	SPDXID            string         `json:"SPDXID"`
	Name              string         `json:"name"`
	DocumentNamespace string         `json:"documentNamespace"`
	CreationInfo      creationInfo   `json:"creationInfo"`
	Packages          []pkg          `json:"packages"`
	Files             []file         `json:"files"`
	Relationships     []relationship `json:"relationships"`
}

type creationInfo struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type pkg struct {
	SPDXID           string        `json:"SPDXID"`
	Name             string        `json:"name"`
	VersionInfo      string        `json:"versionInfo,omitempty"`
	DownloadLocation string        `json:"downloadLocation"`
	FilesAnalyzed    bool          `json:"filesAnalyzed"`
	LicenseConcluded string        `json:"licenseConcluded"`
	LicenseDeclared  string        `json:"licenseDeclared"`
	CopyrightText    string        `json:"copyrightText"`
	ExternalRefs     []externalRef `json:"externalRefs,omitempty"`
	Comment          string        `json:"comment,omitempty"`
}

type externalRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type file struct {
	SPDXID           string     `json:"SPDXID"`
	FileName         string     `json:"fileName"`
	FileTypes        []string   `json:"fileTypes"`
	Checksums        []checksum `json:"checksums"`
	LicenseConcluded string     `json:"licenseConcluded"`
	CopyrightText    string     `json:"copyrightText"`
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type relationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

const (
	noAssertion = "NOASSERTION"
	documentID  = "SPDXRef-DOCUMENT"
	productID   = "SPDXRef-Package-ecsagent"
)

func describe(name, version, arch string, created time.Time, paths []string) (*document, error) {
	doc := &document{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: documentID, Name: name,
		CreationInfo: creationInfo{Created: created.UTC().Format(time.RFC3339), Creators: []string{"Tool: ecsagent-sbom"}},
		Packages: []pkg{{
			SPDXID: productID, Name: "ecs-agent", VersionInfo: version, DownloadLocation: noAssertion,
			LicenseConcluded: "Apache-2.0", LicenseDeclared: "Apache-2.0", CopyrightText: noAssertion,
		}},
		Relationships: []relationship{{documentID, "DESCRIBES", productID}},
	}
	modules := map[string]pkg{}
	all := sha256.New()
	for _, path := range slices.Sorted(slices.Values(paths)) {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read what is described: %w", err)
		}
		sum := sha256.Sum256(content)
		all.Write(sum[:])
		f := file{
			SPDXID: id("File", filepath.Base(path)), FileName: "./" + filepath.Base(path), FileTypes: []string{"BINARY"},
			Checksums:        []checksum{{"SHA256", hex.EncodeToString(sum[:])}},
			LicenseConcluded: noAssertion, CopyrightText: noAssertion,
		}
		doc.Files = append(doc.Files, f)
		doc.Relationships = append(doc.Relationships, relationship{productID, "CONTAINS", f.SPDXID})
		used, err := modulesOf(path, arch)
		if err != nil {
			return nil, err
		}
		for _, m := range used {
			modules[m.SPDXID] = m
			doc.Relationships = append(doc.Relationships, relationship{f.SPDXID, "DEPENDS_ON", m.SPDXID})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(modules)) {
		doc.Packages = append(doc.Packages, modules[key])
	}
	doc.DocumentNamespace = "https://spdx.org/spdxdocs/" + name + "-" + hex.EncodeToString(all.Sum(nil))
	return doc, nil
}

// modulesOf reads what a Go program was built of, and for what; a file that is none has no
// modules.
func modulesOf(path, arch string) ([]pkg, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil && filepath.Ext(path) != ".tar" {
		return nil, fmt.Errorf("read what %s was built of: %w", path, err)
	}
	if err != nil {
		return nil, nil
	}
	for _, s := range info.Settings {
		if s.Key == "GOARCH" && arch != "" && s.Value != arch {
			return nil, fmt.Errorf("%s was built for %s, not for %s", path, s.Value, arch)
		}
	}
	all := []pkg{module("stdlib", strings.TrimPrefix(info.GoVersion, "go"), "", "pkg:golang/stdlib@"+strings.TrimPrefix(info.GoVersion, "go"))}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		all = append(all, module(m.Path, m.Version, m.Sum, "pkg:golang/"+m.Path+"@"+m.Version))
	}
	return all, nil
}

func module(path, version, sum, purl string) pkg {
	p := pkg{
		SPDXID: id("Module", path+"-"+version), Name: path, VersionInfo: version, DownloadLocation: noAssertion,
		LicenseConcluded: noAssertion, LicenseDeclared: noAssertion, CopyrightText: noAssertion,
		ExternalRefs: []externalRef{{"PACKAGE-MANAGER", "purl", purl}},
	}
	if sum != "" {
		p.Comment = "go.sum: " + sum
	}
	return p
}

// id is a name as SPDX wants ids to be.
func id(kind, name string) string {
	return "SPDXRef-" + kind + "-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, cmp.Or(name, "none"))
}

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"openr/lab"
	"openr/lab/fakeswitch"
	"openr/thrift/testca"
)

// labCommand is package lab's command, and beside it what stands in packages of its own.
func labCommand() *cobra.Command {
	cmd := lab.Command()
	cmd.AddCommand(caCommand(), fakeswitch.Command())
	return cmd
}

func caCommand() *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use:   "ca DIR",
		Short: "Make a certificate authority for tests, and certificates signed by it",
		Long: "Make a certificate authority for tests in DIR (ca.pem, ca.key), or use the one that is there, and write a certificate and\n" +
			"its key for each name (NAME.pem, NAME.key). A certificate serves as a server's and as a client's; it bears its name and,\n" +
			"for use on this machine, localhost, 127.0.0.1 and ::1.",
		Example: "  openr lab ca /etc/openr/tls --name node1 --name node2\n\n" +
			"  and in node1's configuration\n" +
			"    \"thrift_server\": {\"enable_secure_thrift_server\": true, \"verify_client_type\": 0,\n" +
			"      \"x509_ca_path\": \"/etc/openr/tls/ca.pem\", \"x509_cert_path\": \"/etc/openr/tls/node1.pem\",\n" +
			"      \"x509_key_path\": \"/etc/openr/tls/node1.key\", ...}",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("which folder? usage: openr lab ca DIR [--name NODE]...")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			written, err := makeCertificates(args[0], names)
			for _, file := range written {
				fmt.Fprintln(cmd.OutOrStdout(), file)
			}
			return err
		},
	}
	cmd.Flags().StringArrayVar(&names, "name", []string{"server", "client"}, "whom to make a certificate for; may be repeated")
	return cmd
}

// makeCertificates returns the files that a user names in configurations.
func makeCertificates(dir string, names []string) (written []string, err error) {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", dir)
	}
	ca, err := testca.Open(dir, "openr lab authority")
	if err != nil {
		return nil, err
	}
	written = append(written, filepath.Join(dir, testca.CAFile))
	for _, name := range names {
		leaf := testca.Leaf{CommonName: name, DNS: []string{"localhost"}, IPs: []net.IP{net.IPv6loopback, net.IPv4(127, 0, 0, 1)}}
		if name != "localhost" {
			leaf.DNS = append(leaf.DNS, name)
		}
		if err := ca.WriteLeaf(dir, name, leaf); err != nil {
			return written, err
		}
		written = append(written, filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
	}
	return written, nil
}

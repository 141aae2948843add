/*
 * routes.c: how fast the kernel takes routes from a program that does nothing else. It encodes all messages first, in
 * batches of 256 of which the last asks for an acknowledgement, then sends them, and prints the seconds that sending took.
 *
 *   routes 4|6 COUNT add|replace|del PROTOCOL METRIC [nhid ID[,ID...]] | [ADDRESS@INTERFACE]...
 *
 * The i-th route goes to 2001:db8:<i>::/64 or to 16.0.0.0/24 and up, in the main table. With nhid it points to a nexthop
 * object, with several of them to each in turn. benchmark: fib/netlink/bench_test.go.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef RTA_NH_ID
#define RTA_NH_ID 30
#endif

enum { BATCH = 256, ROOM = 1024 };

static char *put(char *at, unsigned short type, const void *value, size_t length)
{
	struct rtattr *a = (struct rtattr *)at;
	a->rta_type = type;
	a->rta_len = RTA_LENGTH(length);
	memcpy(RTA_DATA(a), value, length);
	return at + RTA_ALIGN(a->rta_len);
}

static char *put32(char *at, unsigned short type, uint32_t value) { return put(at, type, &value, sizeof value); }

static void die(const char *what)
{
	fprintf(stderr, "routes: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* one next hop's address, as RTA_GATEWAY or, of the other family, as RTA_VIA */
static char *put_gateway(char *at, int family, const char *text)
{
	unsigned char address[16];
	if (strchr(text, ':') == NULL) {
		if (inet_pton(AF_INET, text, address) != 1)
			die(text);
		return put(at, RTA_GATEWAY, address, 4);
	}
	if (inet_pton(AF_INET6, text, address) != 1)
		die(text);
	if (family == AF_INET6)
		return put(at, RTA_GATEWAY, address, 16);
	unsigned char via[18];
	unsigned short f = AF_INET6;
	memcpy(via, &f, 2);
	memcpy(via + 2, address, 16);
	return put(at, RTA_VIA, via, 18);
}

int main(int argc, char **argv)
{
	if (argc < 6) {
		fprintf(stderr, "usage: routes 4|6 COUNT add|replace|del PROTOCOL METRIC [nhid ID[,ID...]] | [ADDRESS@INTERFACE]...\n");
		return 2;
	}
	int family = argv[1][0] == '6' ? AF_INET6 : AF_INET;
	size_t count = strtoul(argv[2], NULL, 10), ids = 0;
	int del = strcmp(argv[3], "del") == 0, replace = strcmp(argv[3], "replace") == 0;
	uint32_t id[8], metric = strtoul(argv[5], NULL, 10);
	if (argc > 7 && strcmp(argv[6], "nhid") == 0)
		for (char *t = strtok(argv[7], ","); t != NULL && ids < 8; t = strtok(NULL, ","))
			id[ids++] = strtoul(t, NULL, 10);

	/* what follows the destination is the same in all messages */
	char hops[ROOM], *h = hops;
	if (!del && ids == 0) {
		char *multi = hops;
		int several = argc - 6 > 1;
		if (several)
			h += RTA_LENGTH(0);
		for (int i = 6; i < argc; i++) {
			char *name = strchr(argv[i], '@');
			if (name == NULL)
				die(argv[i]);
			*name++ = 0;
			if (several) {
				struct rtnexthop *n = (struct rtnexthop *)h;
				memset(n, 0, sizeof *n);
				n->rtnh_ifindex = if_nametoindex(name);
				h = put_gateway(h + sizeof *n, family, argv[i]);
				n->rtnh_len = h - (char *)n;
			} else {
				h = put32(h, RTA_OIF, if_nametoindex(name));
				h = put_gateway(h, family, argv[i]);
			}
		}
		if (several) {
			((struct rtattr *)multi)->rta_type = RTA_MULTIPATH;
			((struct rtattr *)multi)->rta_len = h - multi;
		}
	}
	size_t tail = h - hops, room = 128 + tail;
	char *all = malloc(count * room), *at = all;
	size_t batches = (count + BATCH - 1) / BATCH;
	char **start = malloc((batches + 1) * sizeof *start);
	if (all == NULL || start == NULL)
		die("malloc");
	for (size_t i = 0; i < count; i++) {
		if (i % BATCH == 0)
			start[i / BATCH] = at;
		struct nlmsghdr *m = (struct nlmsghdr *)at;
		struct rtmsg *r = NLMSG_DATA(m);
		memset(at, 0, NLMSG_LENGTH(sizeof *r));
		m->nlmsg_type = del ? RTM_DELROUTE : RTM_NEWROUTE;
		m->nlmsg_flags = NLM_F_REQUEST | (del ? 0 : NLM_F_CREATE | (replace ? NLM_F_REPLACE : NLM_F_EXCL));
		if (i % BATCH == BATCH - 1 || i == count - 1)
			m->nlmsg_flags |= NLM_F_ACK;
		m->nlmsg_seq = i + 1;
		r->rtm_family = family;
		r->rtm_dst_len = family == AF_INET6 ? 64 : 24;
		r->rtm_table = RT_TABLE_MAIN;
		r->rtm_protocol = strtoul(argv[4], NULL, 10);
		r->rtm_scope = del ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE;
		r->rtm_type = del ? RTN_UNSPEC : RTN_UNICAST;
		char *p = at + NLMSG_LENGTH(sizeof *r);
		unsigned char dst[16] = {0x20, 0x01, 0x0d, 0xb8, i >> 24, i >> 16, i >> 8, i};
		if (family == AF_INET) {
			unsigned char four[4] = {16 + (i >> 16), i >> 8, i, 0};
			p = put(p, RTA_DST, four, 4);
		} else
			p = put(p, RTA_DST, dst, 16);
		p = put32(p, RTA_TABLE, RT_TABLE_MAIN);
		p = put32(p, RTA_PRIORITY, metric);
		if (!del && ids > 0)
			p = put32(p, RTA_NH_ID, id[i % ids]);
		else if (tail > 0) {
			memcpy(p, hops, tail);
			p += tail;
		}
		m->nlmsg_len = p - at;
		at = p;
	}
	start[batches] = at;

	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), size = 8 << 20, one = 1;
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
	struct timespec before, after;
	clock_gettime(CLOCK_MONOTONIC, &before);
	for (size_t b = 0; b < batches; b++) {
		if (send(fd, start[b], start[b + 1] - start[b], 0) < 0)
			die("send");
		size_t last = (b + 1) * BATCH < count ? (b + 1) * BATCH : count;
		for (int done = 0; !done;) {
			char answers[65536];
			ssize_t n = recv(fd, answers, sizeof answers, 0);
			if (n < 0)
				die("recv");
			for (struct nlmsghdr *m = (struct nlmsghdr *)answers; NLMSG_OK(m, n); m = NLMSG_NEXT(m, n)) {
				struct nlmsgerr *e = NLMSG_DATA(m);
				if (m->nlmsg_type != NLMSG_ERROR)
					continue;
				if (e->error != 0) {
					errno = -e->error;
					die("the kernel refuses a route");
				}
				done = m->nlmsg_seq == last;
			}
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &after);
	printf("%.9f\n", after.tv_sec - before.tv_sec + (after.tv_nsec - before.tv_nsec) / 1e9);
	return 0;
}

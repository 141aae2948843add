/* libzmq on its own, for comparison: sends or receives a number of messages between a DEALER and a ROUTER.
 *
 *   bench recv COUNT [PUBLIC SECRET]                      ROUTER; prints its endpoint, then the seconds it took
 *   bench send ENDPOINT COUNT SIZE [SERVER PUBLIC SECRET] DEALER; waits for an answer at the end
 *
 * The declarations are those of libzmq's API, so that no header is needed: cc bench.c -l:libzmq.so.5
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern void *zmq_ctx_new(void);
extern void *zmq_socket(void *context, int type);
extern int zmq_setsockopt(void *socket, int option, const void *value, size_t length);
extern int zmq_getsockopt(void *socket, int option, void *value, size_t *length);
extern int zmq_bind(void *socket, const char *endpoint);
extern int zmq_connect(void *socket, const char *endpoint);
extern int zmq_send(void *socket, const void *data, size_t length, int flags);
extern int zmq_recv(void *socket, void *data, size_t length, int flags);

enum { DEALER = 5, ROUTER = 6, SNDMORE = 2, IDENTITY = 5, LAST_ENDPOINT = 32, CURVE_SERVER = 47, CURVE_PUBLIC = 48, CURVE_SECRET = 49, CURVE_SERVERKEY = 50 };

static char buffer[16 << 20];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void key(void *socket, int option, const char *z85) { zmq_setsockopt(socket, option, z85, strlen(z85) + 1); }

int main(int argc, char **argv)
{
	void *context = zmq_ctx_new(), *s;
	if (argc >= 3 && !strcmp(argv[1], "recv")) {
		long count = atol(argv[2]);
		char endpoint[256], identity[256];
		size_t length = sizeof endpoint;
		int n, one = 1;
		double began = 0;
		s = zmq_socket(context, ROUTER);
		if (argc > 4) {
			zmq_setsockopt(s, CURVE_SERVER, &one, sizeof one);
			key(s, CURVE_PUBLIC, argv[3]);
			key(s, CURVE_SECRET, argv[4]);
		}
		zmq_bind(s, "tcp://127.0.0.1:*");
		zmq_getsockopt(s, LAST_ENDPOINT, endpoint, &length);
		printf("%s\n", endpoint);
		fflush(stdout);
		for (long i = 0; i < count; i++) {
			n = zmq_recv(s, identity, sizeof identity, 0);
			zmq_recv(s, buffer, sizeof buffer, 0);
			if (i == 0)
				began = now();
		}
		printf("%.9f\n", now() - began);
		fflush(stdout);
		zmq_send(s, identity, n, SNDMORE);
		zmq_send(s, "done", 4, 0);
		getchar(); /* until standard input is closed */
		return 0;
	}
	if (argc >= 5 && !strcmp(argv[1], "send")) {
		long count = atol(argv[3]);
		size_t size = atol(argv[4]);
		s = zmq_socket(context, DEALER);
		zmq_setsockopt(s, IDENTITY, "bench", 5);
		if (argc > 7) {
			key(s, CURVE_SERVERKEY, argv[5]);
			key(s, CURVE_PUBLIC, argv[6]);
			key(s, CURVE_SECRET, argv[7]);
		}
		zmq_connect(s, argv[2]);
		for (long i = 0; i < count; i++)
			zmq_send(s, buffer, size, 0);
		zmq_recv(s, buffer, sizeof buffer, 0);
		return 0;
	}
	return 2;
}

// The part of fb303 that every Open/R service extends.
//
// Struct names, field ids, types and their order are Open/R's, so that the bytes on the wire are the same;
// writers emit fields in the order of declaration. Regenerate the Go code with `make gen`.

namespace go fb303core

enum fb303_status {
  DEAD = 0,
  STARTING = 1,
  ALIVE = 2,
  STOPPING = 3,
  STOPPED = 4,
  WARNING = 5,
}

service BaseService {
  fb303_status getStatus();
  string getName();
  string getVersion();
  string getStatusDetails();
  map<string, i64> getCounters();
  map<string, i64> getRegexCounters(1: string regex);
  map<string, i64> getSelectedCounters(1: list<string> keys);
  i64 getCounter(1: string key);
  map<string, string> getExportedValues();
  map<string, string> getSelectedExportedValues(1: list<string> keys);
  map<string, string> getRegexExportedValues(1: string regex);
  string getExportedValue(1: string key);
  void setOption(1: string key, 2: string value);
  string getOption(1: string key);
  map<string, string> getOptions();
  i64 aliveSince();
}

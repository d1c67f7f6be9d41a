// Does what the field x-do of a request says: see ../conformance.cases.toml.
#include "portcullis.h"

static pc_string_t greeting;
static pc_matchers_network_set_t networks;

static pc_failure result(const char *text) { return pc_set_attribute("result", pc_string(text)); }

// A number in decimal digits.
static char *number(uint64_t value) {
  char digits[20], *end = digits + sizeof digits, *start = end;
  do {
    *--start = (char)('0' + value % 10);
  } while (value /= 10);
  pc_string_t text;
  text.ptr = (uint8_t *)start;
  text.len = (size_t)(end - start);
  return pc_text(text);
}

static char *text_of(pc_list_u8_t bytes) {
  pc_string_t text;
  text.ptr = bytes.ptr;
  text.len = bytes.len;
  return pc_text(text);
}

static bool wants(const char *what) {
  pc_string_t said;
  return pc_get_request_header("x-do", &said) && pc_equal(said, what);
}

PC_CONFIGURE(settings) {
  pc_string_t value;
  greeting = pc_string("hello");
  if (pc_json_member(settings, "greeting", &value)) pc_json_string(value, &greeting);
  if (greeting.len == 0) return "/greeting: it is empty: ✗";
  pc_string_t list = pc_string("192.168.0.0/16\n10.0.0.0/8\n");
  pc_matchers_make_error_t error;
  return pc_matchers_make_network_set(&list, &networks, &error) ? PC_OK : "there is no set";
}

static pc_failure edit(void) {
  PC_TRY(pc_set_request_header("x-a", pc_string("1")));
  PC_TRY(pc_add_request_header("x-a", pc_string("zwölf")));
  PC_TRY(pc_drop_request_header("x-gone"));
  pc_string_t path = pc_string("/new?q=1");
  pc_types_refused_t refused;
  return pc_request_set_path_and_query(&path, &refused) ? PC_OK : pc_refused(&refused);
}

static pc_failure answer(void) {
  pc_types_field_t why = {pc_string("x-why"), pc_string("weil")};
  pc_exchange_list_field_t fields = {&why, 1};
  const char *text = "unmöglich ✗\n";
  pc_list_u8_t body = pc_bytes(text, strlen(text));
  pc_types_refused_t refused;
  return pc_exchange_reply(403, &fields, &body, &refused) ? PC_OK : pc_refused(&refused);
}

static pc_failure binary(void) {
  pc_string_t name = pc_string("x-bin"), text;
  pc_list_u8_t bytes = pc_bytes("\xff" "a", 2);
  pc_types_refused_t refused;
  if (!pc_request_set_header_bytes(&name, &bytes, &refused)) return pc_refused(&refused);
  pc_request_header(&name, &text);
  pc_request_header_bytes(&name, &bytes);
  return result(pc_join(pc_text(text), " ", number(bytes.len), NULL));
}

static pc_failure forbidden(void) {
  pc_string_t name = pc_string("transfer-encoding"), value = pc_string("chunked");
  pc_types_refused_t refused;
  if (pc_request_set_header(&name, &value, &refused)) return "it was not refused";
  return result(refused.tag == PC_TYPES_REFUSED_FORBIDDEN ? "forbidden" : "something else");
}

static pc_failure logs(void) {
  pc_log(PC_LOG_LEVEL_INFO, "eine Zeile ✓");
  pc_string_t line = pc_string("another");
  pc_tuple2_string_string_t field = {pc_string("key"), pc_string("wört")};
  pc_list_tuple2_string_string_t fields = {&field, 1};
  pc_log_log(PC_LOG_LEVEL_WARN, &line, &fields);
  return PC_OK;
}

static pc_failure chance(void) {
  pc_list_u8_t bytes, more;
  pc_random_error_t error;
  if (!pc_random_bytes(16, &bytes, &error)) return "there is no chance";
  bool refused = !pc_random_bytes(5000, &more, &error) && error.tag == PC_RANDOM_ERROR_TOO_MANY;
  return result(pc_join(number(bytes.len), refused ? " too-many" : " something else", NULL));
}

static pc_failure count(void) {
  pc_string_t seen = pc_string("seen"), size = pc_string("size");
  pc_tuple2_string_string_t label = {pc_string("label"), pc_string("wert")};
  pc_list_tuple2_string_string_t labels = {&label, 1}, none = {NULL, 0};
  pc_metrics_add(pc_metrics_counter(&seen, &labels), 2);
  pc_metrics_observe(pc_metrics_histogram(&size, &none), 1.5);
  return PC_OK;
}

static pc_failure secret(void) {
  pc_string_t known = pc_string("password"), unknown = pc_string("other");
  pc_list_u8_t bytes, none;
  if (!pc_secrets_get(&known, &bytes)) return "there is no secret";
  return result(pc_join(text_of(bytes), pc_secrets_get(&unknown, &none) ? " some" : " none", NULL));
}

static pc_failure rate(void) {
  pc_string_t bucket = pc_string("me");
  pc_rate_limit_quota_t quota = {.requests = 1, .per_ms = 1000, .burst = 0};
  pc_rate_limit_verdict_t verdict;
  pc_rate_limit_check(&bucket, &quota, 1, &verdict);
  const char *allowed = verdict.allowed ? "true " : "false ";
  return result(pc_join(allowed, number(verdict.remaining), " ", number(verdict.retry_after_ms), NULL));
}

static pc_failure stored(void) {
  pc_string_t key = pc_string("wert"), other = pc_string("zahl"), all = pc_string("");
  pc_list_u8_t value = pc_bytes("wert", 4);
  pc_option_list_u8_t before, after;
  pc_store_error_t error;
  pc_list_string_t names;
  uint64_t minute = 60000;
  int64_t sum, none;
  if (!pc_store_get(&key, &before, &error) || !pc_store_set(&key, &value, NULL, &error) ||
      !pc_store_increment(&other, 1, &minute, &sum, &error) || !pc_store_get(&key, &after, &error) ||
      !pc_store_list(&all, &names, &error) || names.len != 2)
    return "the store has an error";
  bool refused = !pc_store_increment(&key, 1, NULL, &none, &error) && error.tag == PC_STORE_ERROR_NOT_A_NUMBER;
  return result(pc_join(before.is_some ? "some " : "none ", text_of(after.val), " ", number((uint64_t)sum), " ",
                        pc_text(names.ptr[0]), ",", pc_text(names.ptr[1]), refused ? " not-a-number" : " else", NULL));
}

static pc_failure digest(void) {
  static const char hex[] = "0123456789abcdef";
  pc_string_t hash = pc_string("sha-256"), unknown = pc_string("md5");
  pc_list_u8_t data = pc_bytes("abc", 3), sum, none;
  pc_crypto_error_t error;
  if (!pc_crypto_digest(&hash, &data, &sum, &error)) return "there is no digest";
  char digits[9] = {0};
  for (int at = 0; at < 4; at++) {
    digits[2 * at] = hex[sum.ptr[at] >> 4];
    digits[2 * at + 1] = hex[sum.ptr[at] & 15];
  }
  if (pc_crypto_digest(&unknown, &data, &none, &error)) return "there is such a digest";
  const char *why = error.tag == PC_CRYPTO_ERROR_UNSUPPORTED ? " unsupported: " : " something else: ";
  return result(pc_join(digits, why, pc_text(error.val.unsupported), NULL));
}

static pc_failure json(void) {
  const char *text = "{\"a\": {\"b\": \"ü\"}, \"c\": [1.5, true, null]}";
  pc_list_u8_t document = pc_bytes(text, strlen(text));
  pc_string_t pointers[] = {pc_string("/a/b"), pc_string("/c/0"), pc_string("/c/1"), pc_string("/c/2"), pc_string("/d")};
  pc_list_string_t list = {pointers, 5};
  pc_matchers_list_option_json_value_t values;
  pc_matchers_json_error_t error;
  if (!pc_matchers_read_json(&document, &list, &values, &error)) return "it is not read";
  const char *shown = "";
  for (size_t at = 0; at < values.len; at++) {
    const char *next = "none";
    if (values.ptr[at].is_some) {
      pc_matchers_json_value_t *value = &values.ptr[at].val;
      switch (value->tag) {
      case PC_MATCHERS_JSON_VALUE_TEXT: next = pc_join("text ", pc_text(value->val.text), NULL); break;
      case PC_MATCHERS_JSON_VALUE_NUMBER: next = pc_join("number ", pc_text(value->val.number), NULL); break;
      case PC_MATCHERS_JSON_VALUE_BOOLEAN: next = value->val.boolean ? "boolean true" : "boolean false"; break;
      case PC_MATCHERS_JSON_VALUE_NULL: next = "null"; break;
      default: next = "something else";
      }
    }
    shown = at ? pc_join(shown, ", ", next, NULL) : next;
  }
  return result(shown);
}

static pc_failure network(void) {
  pc_option_u32_t found;
  pc_matchers_error_t error;
  if (!pc_matchers_find_client(networks, &found, &error)) return "it is not looked up";
  return result(found.is_some ? number(found.val) : "none");
}

static pc_failure ask(void) {
  pc_http_client_field_t field = {pc_string("x-a"), pc_string("b")};
  pc_http_client_outbound_t request = {
      .method = pc_string("GET"), .url = pc_string("https://auth.internal/check"), .headers = {&field, 1}};
  pc_http_client_inbound_t inbound;
  pc_http_client_error_t error;
  if (!pc_http_client_send(&request, &inbound, &error))
    return result(error.tag == PC_HTTP_CLIENT_ERROR_TIMEOUT ? "timeout" : "something else");
  const char *shown = pc_join(number(inbound.status), " ", NULL);
  for (size_t at = 0; at < inbound.headers.len; at++)
    shown = pc_join(shown, pc_text(inbound.headers.ptr[at].f0), "=", pc_text(inbound.headers.ptr[at].f1), " ", NULL);
  return result(pc_join(shown, text_of(inbound.body), NULL));
}

PC_ON_REQUEST_HEAD {
  pc_string_t method, path, query;
  pc_request_method(&method);
  pc_request_path(&path);
  if (!pc_request_query(&query)) query = pc_string("");
  char *state = pc_join(pc_text(method), " ", pc_text(path), " (", pc_text(query), ")", NULL);
  pc_list_u8_t kept = pc_bytes(state, strlen(state));
  pc_types_refused_t refused;
  if (!pc_exchange_set_state(&kept, &refused)) return pc_refused(&refused);

  if (wants("edit")) return edit();
  if (wants("reply")) return answer();
  if (wants("binary")) return binary();
  if (wants("forbidden")) return forbidden();
  if (wants("fail")) return "it failed: größer ✗";
  if (wants("crash")) __builtin_trap();
  if (wants("loop"))
    for (volatile int at = 0;; at = at + 1) {
    }
  if (wants("allocate"))
    for (;;) memset(pc_alloc(1 << 20), 1, 1 << 20);
  if (wants("log")) return logs();
  if (wants("clock")) return result(number(pc_clock_now_ms()));
  if (wants("random")) return chance();
  if (wants("metrics")) return count();
  if (wants("secret")) return secret();
  if (wants("rate")) return rate();
  if (wants("store")) return stored();
  if (wants("digest")) return digest();
  if (wants("json")) return json();
  if (wants("network")) return network();
  if (wants("ask")) return ask();
  return PC_OK;
}

PC_ON_REQUEST_BODY {
  if (!wants("upper")) return PC_OK;
  if (!pc_body_is_last()) return pc_collect_body();
  pc_list_u8_t body = pc_body();
  for (size_t at = 0; at < body.len; at++)
    if (body.ptr[at] >= 'a' && body.ptr[at] <= 'z') body.ptr[at] -= 'a' - 'A';
  return pc_replace_body(body);
}

PC_ON_RESPONSE_HEAD {
  pc_list_u8_t state;
  pc_exchange_state(&state);
  PC_TRY(pc_set_response_header("x-greeting", greeting));
  return pc_set_response_header("x-state", pc_string(text_of(state)));
}

PC_ON_RESPONSE_BODY {
  if (!wants("stream") || pc_body_size() == 0) return PC_OK;
  pc_list_u8_t body = pc_body();
  uint8_t *framed = pc_alloc(body.len + 2);
  framed[0] = '[';
  memcpy(framed + 1, body.ptr, body.len);
  framed[body.len + 1] = ']';
  return pc_replace_body(pc_bytes(framed, body.len + 2));
}

PC_ON_COMPLETED { return pc_set_attribute("done", pc_string(number(pc_outcome_status()))); }

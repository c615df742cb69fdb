#include "promiseg/io/json.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace promiseg;

namespace {

constexpr const char* kReplacement = "\xEF\xBF\xBD";

std::string dumped(std::string_view text) { return Json(text).dump(); }

std::string quoted_json(const std::string& text) { return '"' + text + '"'; }

}  // namespace

TEST_CASE("JSON: numbers as RFC 8259 has them, and no others") {
  CHECK(Json::parse("0").as_integer() == 0);
  CHECK(Json::parse("-0").as_integer() == 0);
  CHECK(Json::parse(" 120 ").as_integer() == 120);
  CHECK(Json::parse("-9223372036854775808").as_integer() ==
        std::numeric_limits<std::int64_t>::min());
  CHECK(Json::parse("0.5").as_number() == 0.5);
  CHECK(Json::parse("-0.25e1").as_number() == -2.5);
  CHECK(Json::parse("1E+2").as_number() == 100.0);
  CHECK(Json::parse("10e-1").as_number() == 1.0);
  CHECK(Json::parse("9223372036854775808").as_number() == 9223372036854775808.0);
  CHECK_FALSE(Json::parse("1.0").is_integer());

  for (const std::string text :
       {"007",   "00",   "-01",   "01.5", "1.",       "-1.",       "1.e5",  ".5",  "-.5",
        "1e",    "1e+",  "1E-",   "1.5e", "+1",       "-",         "--1",   "1-1", "1.2.3",
        "1e5.5", "0x10", "1_000", "NaN",  "Infinity", "-Infinity", "1e999", ""}) {
    CAPTURE(text);
    CHECK_THROWS_AS(Json::parse(text), Error);
    CHECK_THROWS_AS(Json::parse("[" + text + ", 1]"), Error);
    CHECK_THROWS_AS(Json::parse("{\"a\": " + text + "}"), Error);
  }
  CHECK_THROWS_WITH_AS(Json::parse("[007]"), doctest::Contains("leading zeros"), Error);
}

TEST_CASE("JSON: what is not JSON is refused with the place") {
  for (const std::string_view text : {"{",
                                      "[",
                                      "[1,]",
                                      "{\"a\":1,}",
                                      "{\"a\" 1}",
                                      "{a: 1}",
                                      "[1 2]",
                                      "nul",
                                      "truely",
                                      "1 2",
                                      "\"open",
                                      "\"\\",
                                      "\"\\x\"",
                                      "\"\\u12\"",
                                      "\"\\u12g4\"",
                                      "\"\\ud800\"",
                                      "\"\\udc00\"",
                                      "\"\\ud800\\u0041\"",
                                      "\"line\nbreak\"",
                                      "'a'",
                                      "// note\n1"}) {
    CAPTURE(text);
    try {
      Json::parse(text);
      FAIL_CHECK("accepted");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::bad_format);
      CHECK(std::string_view(error.what()).find("at byte ") != std::string_view::npos);
    }
  }
  CHECK_NOTHROW(Json::parse(std::string(64, '[') + std::string(64, ']')));
  CHECK_THROWS_WITH_AS(Json::parse(std::string(100'000, '[')), doctest::Contains("nesting"), Error);
}

TEST_CASE("JSON: every beginning of a document is refused") {
  const std::string text = R"({"a": [1, -2.5e3, "x\u00e9\ud83d\ude00\n"], "b": {"c": null}})";
  REQUIRE_NOTHROW(Json::parse(text));
  for (std::size_t size = 0; size < text.size(); ++size) {
    CAPTURE(size);
    CHECK_THROWS_AS(Json::parse(std::string_view(text).substr(0, size)), Error);
  }
}

TEST_CASE("JSON: strings and their escapes") {
  CHECK(Json::parse(R"("\"\\\/\b\f\n\r\t")").as_string() == "\"\\/\b\f\n\r\t");
  CHECK(Json::parse(R"("\u0041\u00e9\u20ac\ud83d\ude00")").as_string() ==
        "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  CHECK(dumped("a\"b\\c\n\r\t\x01") == R"("a\"b\\c\n\r\t\u0001")");
  const std::string with_zero("a\0b", 3);
  CHECK(Json::parse(dumped(with_zero)).as_string() == with_zero);
}

TEST_CASE("JSON: output is UTF-8 whatever the strings hold") {
  for (const std::string valid :
       {"plain", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
        "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "gr\xC3\xBC\xC3\x9F"}) {
    CAPTURE(valid);
    CHECK(dumped(valid) == quoted_json(valid));
  }
  // Text, and how many of its bytes are not UTF-8.
  const std::vector<std::pair<std::string, int>> invalid{
      {"\x80", 1},              // a continuation alone
      {"\xC3", 1},              // cut off
      {"\xE2\x82", 2},          // cut off
      {"\xF0\x9F\x98", 3},      // cut off
      {"\xC0\x80", 2},          // too long for what it says
      {"\xE0\x9F\xBF", 3},      // too long
      {"\xF0\x8F\xBF\xBF", 4},  // too long
      {"\xED\xA0\x80", 3},      // a surrogate
      {"\xF4\x90\x80\x80", 4},  // beyond the last character
      {"\xF5\x80\x80\x80", 4},
      {"\xFF\xFE", 2}};
  for (const auto& [text, bytes] : invalid) {
    std::string expected;
    for (int i = 0; i < bytes; ++i) expected += kReplacement;
    CHECK(dumped("a" + text + "b") == quoted_json("a" + expected + "b"));
    CHECK(dumped(text) == quoted_json(expected));
  }
  const std::string latin1 = "Universit\xE4t.png";
  CHECK(dumped(latin1) == quoted_json(std::string("Universit") + kReplacement + "t.png"));
  CHECK(Json::parse(quoted_json(latin1)).as_string() == latin1);  // kept when read
  CHECK(Json(Json::Object{{latin1, 1}}).dump() ==
        std::string("{\"Universit") + kReplacement + "t.png\": 1}");
  const std::string twice = dumped(latin1);
  CHECK(Json::parse(twice).dump() == twice);
}

TEST_CASE("JSON: a value survives writing and reading") {
  Json value;
  value.set("null", nullptr);
  value.set("yes", true);
  value.set("count", -3);
  value.set("real", 0.1);
  value.set("tiny", 5e-324);
  value.set("huge", 1.7976931348623157e308);
  value.set("text", "a b");
  value.set("list", Json::Array{1, "two", Json::Array{}, Json::Object{}});
  for (const int indent : {0, 2}) {
    CHECK(Json::parse(value.dump(indent)) == value);
  }
  CHECK(Json(std::nan("")).dump() == "null");
  CHECK(Json(-std::numeric_limits<double>::infinity()).dump() == "null");
  CHECK(Json(Json::Array{1, 2}).dump(2) == "[1, 2]");
  CHECK(Json(Json::Object{{"a", 1}}).dump(2) == "{\n  \"a\": 1\n}");
}

TEST_CASE("JSON: members and types") {
  Json value = Json::parse(R"({"b": 1, "a": "x"})");
  CHECK(value.dump() == R"({"b": 1, "a": "x"})");  // the order is kept
  value.set("b", 2);
  CHECK(value.dump() == R"({"b": 2, "a": "x"})");
  CHECK(value.find("c") == nullptr);
  CHECK_THROWS_WITH_AS(value.at("c"), doctest::Contains("\"c\""), Error);
  CHECK_THROWS_WITH_AS(value.at("a").as_integer(), doctest::Contains("a string"), Error);
  CHECK_THROWS_AS(Json(1.5).as_integer(), Error);
  CHECK(Json(2).as_number() == 2.0);
  CHECK_THROWS_AS(value.push_back(1), Error);
  CHECK_THROWS_AS(Json("text").set("a", 1), Error);
  CHECK(Json(1).find("a") == nullptr);
  CHECK(Json::array(std::vector<int>{1, 2}).dump() == "[1, 2]");
}

#include "promiseg/io/safetensors.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "hostile_files.hpp"
#include "temporary_folder.hpp"

using namespace promiseg;
using promiseg_test::TemporaryFolder;

namespace {

namespace fs = std::filesystem;

/// A file of a header as given and `data` bytes 0, 1, 2, ...
void make_file(const fs::path& path, std::string_view header, std::size_t data) {
  const std::uint64_t size = header.size();
  std::vector<char> bytes(sizeof size);
  std::memcpy(bytes.data(), &size, sizeof size);
  bytes.insert(bytes.end(), header.begin(), header.end());
  for (std::size_t i = 0; i < data; ++i) bytes.push_back(static_cast<char>(i));
  promiseg_test::write_bytes(path, bytes);
}

std::string tensor_text(std::string_view dtype, std::string_view shape, std::string_view range) {
  std::string text = R"({"dtype": ")";
  text += dtype;
  text += R"(", "shape": )";
  text += shape;
  text += R"(, "data_offsets": )";
  text += range;
  return text + "}";
}

/// What opening a file with this header and 16 bytes of data throws; the message names the file.
Error error_of(std::string_view header) {
  const TemporaryFolder folder;
  const fs::path path = folder / "bad.safetensors";
  make_file(path, header, 16);
  try {
    SafetensorsFile file(path);
  } catch (const Error& error) {
    CHECK(std::string_view(error.what()).find(path.string()) != std::string_view::npos);
    return error;
  }
  FAIL("accepted: " << header);
  throw;
}

void check_bad(std::string_view header, std::string_view message) {
  CAPTURE(header);
  const Error error = error_of(header);
  CAPTURE(error.what());
  CHECK(error.code() == ErrorCode::bad_format);
  CHECK(std::string_view(error.what()).find(message) != std::string_view::npos);
}

std::ptrdiff_t files_in(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

}  // namespace

TEST_CASE("safetensors: what is written comes back") {
  const TemporaryFolder folder;
  const fs::path path = folder / "all.safetensors";
  std::array<float, 6> numbers{1.5f, -2.0f, 0.0f, 3.25f, 1e-30f, 1e30f};
  const std::array<std::uint8_t, 3> odd{7, 8, 9};
  const std::array<std::int64_t, 1> scalar{std::numeric_limits<std::int64_t>::min()};
  SafetensorsWriter writer;
  writer.set_metadata("format", "pt");
  writer.set_metadata("with \"quotes\"", "gr\xC3\xBC\xC3\x9F\n");
  const TensorView<const float, 2> matrix(numbers.data(), {2, 3});
  writer.add("odd", TensorView<const std::uint8_t, 1>(odd.data(), {3}));
  writer.add("matrix", matrix);  // askew after three bytes
  writer.add("empty", TensorView<const float, 3>(nullptr, {4, 0, 5}));
  writer.add("scalar", TensorView<const std::int64_t, 0>(scalar.data(), {}));
  writer.adopt("transposed", matrix.permuted({1, 0}));
  CHECK_THROWS_AS(writer.add("gaps", matrix.permuted({1, 0})), Error);
  writer.write(path);
  CHECK(files_in(folder.path()) == 1);

  const SafetensorsFile file(path);
  CHECK(file.name() == path.string());
  CHECK(file.tensors().size() == 5);
  CHECK(file.metadata().size() == 2);
  CHECK(file.metadata().at("format") == "pt");
  CHECK(file.metadata().at("with \"quotes\"") == "gr\xC3\xBC\xC3\x9F\n");

  const auto read = file.view<float, 2>("matrix");
  CHECK(reinterpret_cast<std::uintptr_t>(read.data()) % sizeof(float) == 0);
  CHECK(read.extents() == Extents<2>{2, 3});
  CHECK(std::equal(numbers.begin(), numbers.end(), read.data()));
  const auto transposed = file.view<float, 2>("transposed");
  CHECK(transposed.extents() == Extents<2>{3, 2});
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 3; ++j) CHECK(transposed(j, i) == matrix(i, j));
  }
  const auto bytes = file.view<std::uint8_t, 1>("odd");
  CHECK(std::equal(odd.begin(), odd.end(), bytes.data()));
  const auto empty = file.view<float, 3>("empty");
  CHECK(empty.extents() == Extents<3>{4, 0, 5});
  CHECK(empty.empty());
  CHECK(file.view<std::int64_t, 0>("scalar")() == scalar[0]);

  CHECK(file.contains("odd"));
  CHECK_FALSE(file.contains("absent"));
  CHECK_THROWS_WITH_AS(file.at("absent"), doctest::Contains("\"absent\""), Error);
  CHECK_THROWS_WITH_AS((file.view<float, 1>("matrix")), doctest::Contains("[2, 3]"), Error);
  CHECK_THROWS_WITH_AS((file.view<std::int32_t, 2>("matrix")), doctest::Contains("I32"), Error);
}

TEST_CASE("safetensors: every type") {
  const TemporaryFolder folder;
  const fs::path path = folder / "types.safetensors";
  const std::array<DType, 10> types{DType::f32, DType::f16,    DType::bf16, DType::f64,
                                    DType::i64, DType::i32,    DType::i16,  DType::i8,
                                    DType::u8,  DType::boolean};
  std::array<std::byte, 16> data{};
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i + 1);
  SafetensorsWriter writer;
  for (const DType type : types) {
    writer.add(std::string(to_string(type)),
               TensorEntry{type, {2}, std::span(data).first(2 * size_of(type))});
  }
  writer.write(path);
  const SafetensorsFile file(path);
  for (const DType type : types) {
    const TensorEntry& entry = file.at(to_string(type));
    CHECK(entry.dtype == type);
    CHECK(entry.shape == std::vector<Index>{2});
    CHECK(std::equal(entry.bytes.begin(), entry.bytes.end(), data.begin(),
                     data.begin() + static_cast<std::ptrdiff_t>(2 * size_of(type))));
  }
}

TEST_CASE("safetensors: a file of nothing") {
  const TemporaryFolder folder;
  const fs::path path = folder / "nothing.safetensors";
  SafetensorsWriter().write(path);
  const SafetensorsFile file(path);
  CHECK(file.tensors().empty());
  CHECK(file.metadata().empty());
}

TEST_CASE("safetensors: tensors that lie askew are aligned") {
  const TemporaryFolder folder;
  const fs::path path = folder / "askew.safetensors";
  const std::string header = R"({"byte": )" + tensor_text("U8", "[1]", "[0, 1]") + R"(, "pair": )" +
                             tensor_text("I64", "[2]", "[1, 17]") + "}";
  for (std::size_t spaces = 0; spaces < 8; ++spaces) {
    CAPTURE(spaces);
    make_file(path, header + std::string(spaces, ' '), 17);
    const SafetensorsFile file(path);
    const auto pair = file.view<std::int64_t, 1>("pair");
    CHECK(reinterpret_cast<std::uintptr_t>(pair.data()) % sizeof(std::int64_t) == 0);
    CHECK(pair(0) == 0x0807060504030201);
    CHECK(pair(1) == 0x100F0E0D0C0B0A09);
    CHECK(file.view<std::uint8_t, 1>("byte")(0) == 0);
  }
}

TEST_CASE("safetensors: headers that are not what they should be") {
  const auto one = [](const std::string& tensor) { return "{\"t\": " + tensor + "}"; };
  const auto two = [](const std::string& a, const std::string& b) {
    return "{\"a\": " + a + ", \"b\": " + b + "}";
  };
  check_bad("", "expected a value");
  check_bad("[]", "expected an object");
  check_bad("{} {}", "end of text");
  check_bad(R"({"t": 1})", "dtype");
  check_bad(R"({"t": {"dtype": "F32", "shape": [4]}})", "data_offsets");
  check_bad(R"({"t": {"dtype": 5, "shape": [4], "data_offsets": [0, 16]}})", "expected a string");
  check_bad(R"({"__metadata__": {"a": 1}})", "expected a string");
  check_bad(R"({"__metadata__": []})", "expected an object");

  check_bad(one(tensor_text("F32", "[5]", "[0, 20]")), "larger than the file");
  check_bad(one(tensor_text("F32", "[4]", "[0, 12]")), "need 16 bytes");
  check_bad(one(tensor_text("F32", "[]", "[0, 16]")), "need 4 bytes");
  check_bad(one(tensor_text("F32", "[0]", "[0, 4]")), "need 0 bytes");
  check_bad(one(tensor_text("F32", "[4]", "[4, 20]")), "truncated?");
  check_bad(one(tensor_text("F32", "[4]", "[16, 0]")), "16 to 0");
  check_bad(one(tensor_text("F32", "[4]", "[-16, 0]")), "-16 to 0");
  check_bad(one(tensor_text("F32", "[4]", "[-9223372036854775808, 9223372036854775807]")), "lies");
  check_bad(one(tensor_text("F32", "[-4]", "[0, 16]")), "shape");
  check_bad(one(tensor_text("F32", "[-2, -2]", "[0, 16]")), "shape");
  check_bad(one(tensor_text("F32", "[1.5]", "[0, 6]")), "a whole number");
  check_bad(one(tensor_text("F32", "[04]", "[0, 16]")), "leading zeros");
  check_bad(one(tensor_text("F32", "[4]", "[0, 8, 16]")), "two numbers");
  check_bad(one(tensor_text("F32", "[4]", "[0, 18446744073709551616]")), "a whole number");
  // Products that overflow 64 bits, to 0 or to the right size; with a zero, views still have
  // strides.
  check_bad(one(tensor_text("U8", "[4294967296, 4294967296]", "[0, 0]")), "shape");
  check_bad(one(tensor_text("F32", "[4611686018427387905]", "[0, 4]")), "shape");
  check_bad(one(tensor_text("U8", "[0, 4294967296, 4294967296]", "[0, 0]")), "too large");

  check_bad(two(tensor_text("F32", "[2]", "[0, 8]"), tensor_text("F32", "[2]", "[4, 12]")),
            "overlaps");
  check_bad(two(tensor_text("F32", "[2]", "[0, 8]"), tensor_text("F32", "[2]", "[0, 8]")),
            "share the same bytes");
  check_bad(two(tensor_text("F32", "[4]", "[0, 16]"), tensor_text("F32", "[1]", "[4, 8]")),
            "overlaps");
  check_bad("{\"a\": " + tensor_text("F32", "[1]", "[0, 4]") +
                ", \"a\": " + tensor_text("F32", "[1]", "[4, 8]") + "}",
            "there twice");
}

TEST_CASE("safetensors: unknown types are not damage") {
  for (const std::string_view type : {"F8_E4M3", "U16", "f32", ""}) {
    const std::string header = "{\"t\": " + tensor_text(type, "[4]", "[0, 4]") + "}";
    const Error error = error_of(header);
    CHECK(error.code() == ErrorCode::unsupported);
    CHECK(std::string_view(error.what()).find("\"t\"") != std::string_view::npos);
  }
}

TEST_CASE("safetensors: header lengths beyond the file") {
  const TemporaryFolder folder;
  const fs::path path = folder / "length.safetensors";
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{1} << 32, std::uint64_t{1} << 63,
        std::numeric_limits<std::uint64_t>::max() - 7, std::numeric_limits<std::uint64_t>::max()}) {
    CAPTURE(length);
    std::vector<char> bytes(sizeof length + 2, '{');
    std::memcpy(bytes.data(), &length, sizeof length);
    promiseg_test::write_bytes(path, bytes);
    CHECK_THROWS_WITH_AS(SafetensorsFile{path}, doctest::Contains("its header would take"), Error);
  }
}

TEST_CASE("safetensors: truncated and damaged files") {
  const TemporaryFolder folder;
  const fs::path path = folder / "good.safetensors";
  std::array<float, 12> numbers{};
  std::iota(numbers.begin(), numbers.end(), 0.0f);
  SafetensorsWriter writer;
  writer.set_metadata("key", "value");
  writer.add("a", TensorView<const float, 2>(numbers.data(), {3, 4}));
  writer.add("b", TensorView<const float, 1>(numbers.data(), {5}));
  writer.write(path);
  const auto read = [](const fs::path& name) {
    const SafetensorsFile file(name);
    unsigned sum = 0;
    for (const auto& [key, entry] : file.tensors()) {
      for (const std::byte byte : entry.bytes) sum += static_cast<unsigned>(byte);
      if (entry.dtype == DType::f32 && entry.shape.size() == 2) file.view<float, 2>(key);
    }
    return sum;
  };
  promiseg_test::check_truncations(path, 1, read);
  promiseg_test::check_flips(path, 200, 2000, read);
}

TEST_CASE("safetensors: when writing fails nothing is left and the old file stays") {
  const TemporaryFolder folder;
  const std::array<float, 2> numbers{1, 2};
  SafetensorsWriter writer;
  writer.add("a", TensorView<const float, 1>(numbers.data(), {2}));
  CHECK_THROWS_AS(writer.write(folder / "absent/out.safetensors"), Error);
  fs::create_directory(folder / "taken");
  CHECK_THROWS_AS(writer.write(folder / "taken"), Error);
  CHECK(files_in(folder.path()) == 1);

  const fs::path path = folder / "out.safetensors";
  writer.write(path);
  const std::vector<char> before = promiseg_test::read_bytes(path);
  SafetensorsWriter bad;
  bad.add("t", TensorEntry{static_cast<DType>(99), {1}, {}});
  CHECK_THROWS_AS(bad.write(path), Error);
  CHECK(promiseg_test::read_bytes(path) == before);
  {
    AtomicFile file(path);
    SafetensorsWriter().write(file);  // and no commit
  }
  CHECK(promiseg_test::read_bytes(path) == before);
  CHECK(files_in(folder.path()) == 2);
}

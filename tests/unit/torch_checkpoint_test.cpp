#include "promiseg/io/torch_checkpoint.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>

using namespace promiseg;

namespace {

namespace fs = std::filesystem;

fs::path data_file(const std::string& name) {
  return fs::path(PROMISEG_TEST_DATA) / "checkpoints" / name;
}

TorchCheckpoint read(const std::string& name) { return read_torch_checkpoint(data_file(name)); }

std::string file_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The error that `read` gives; fails the test if there is none.
Error error_of(const std::string& name) {
  try {
    read(name);
  } catch (const Error& error) {
    return error;
  }
  FAIL("no error from " << name);
  return {ErrorCode::io, ""};
}

Error error_of_bytes(std::string_view bytes) {
  try {
    parse_torch_checkpoint(std::as_bytes(std::span(bytes)), "download.pth");
  } catch (const Error& error) {
    return error;
  }
  FAIL("no error");
  return {ErrorCode::io, ""};
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// Element `i` of what ramp(shape, seed) makes in make_checkpoints.py.
float ramp(std::size_t i, int seed) {
  return static_cast<float>((7 * static_cast<int>(i) + seed) % 23 - 11) / 8.0f;
}

std::vector<float> ramps(std::size_t count, int seed) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = ramp(i, seed);
  return values;
}

using Shape = std::vector<Index>;

void check_tensor(const TorchCheckpoint& checkpoint, std::string_view name, const Shape& shape,
                  const std::vector<float>& values) {
  CAPTURE(name);
  const CheckpointTensor& tensor = checkpoint.at(name);
  CHECK(tensor.shape == shape);
  CHECK(to_float32(tensor) == values);
}

void check_plain(const TorchCheckpoint& checkpoint) {
  REQUIRE(checkpoint.tensors.size() == 3);
  CHECK(checkpoint.tensors[0].name == "conv.weight");
  CHECK(checkpoint.tensors[1].name == "conv.bias");
  CHECK(checkpoint.tensors[2].name == "scale");
  check_tensor(checkpoint, "conv.weight", {2, 3, 2, 2}, ramps(24, 1));
  check_tensor(checkpoint, "conv.bias", {2}, ramps(2, 2));
  check_tensor(checkpoint, "scale", {}, ramps(1, 3));
}

template <class T>
std::vector<T> elements(const CheckpointTensor& tensor) {
  REQUIRE(tensor.bytes.size() % sizeof(T) == 0);
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

template <class T>
void check_integers(const TorchCheckpoint& checkpoint, std::string_view name, DType dtype) {
  CAPTURE(name);
  CHECK(checkpoint.at(name).dtype == dtype);
  CHECK(elements<T>(checkpoint.at(name)) == std::vector<T>{0, 1, 2, 3, 4});
}

}  // namespace

TEST_CASE("torch checkpoint: zip, legacy and every pickle protocol") {
  for (const char* name : {"zip.pth", "legacy.pth", "protocol3.pth", "protocol4.pth",
                           "protocol5.pth", "legacy_protocol4.pth", "deflated.pth", "wheel.whl"}) {
    CAPTURE(name);
    const TorchCheckpoint checkpoint = read(name);
    check_plain(checkpoint);
    CHECK(checkpoint.skipped.empty());
  }
}

TEST_CASE("torch checkpoint: element types are kept") {
  for (const char* name : {"types.pth", "types_legacy.pth"}) {
    CAPTURE(name);
    const TorchCheckpoint checkpoint = read(name);
    CHECK(checkpoint.tensors.size() == 10);
    CHECK(checkpoint.at("f32").dtype == DType::f32);
    CHECK(checkpoint.at("f16").dtype == DType::f16);
    CHECK(checkpoint.at("bf16").dtype == DType::bf16);
    CHECK(checkpoint.at("f64").dtype == DType::f64);
    check_tensor(checkpoint, "f32", {2, 3}, ramps(6, 1));
    check_tensor(checkpoint, "f16", {2, 3}, ramps(6, 2));
    check_tensor(checkpoint, "bf16", {2, 3}, ramps(6, 3));
    check_tensor(checkpoint, "f64", {2, 3}, ramps(6, 4));
    check_integers<std::int64_t>(checkpoint, "i64", DType::i64);
    check_integers<std::int32_t>(checkpoint, "i32", DType::i32);
    check_integers<std::int16_t>(checkpoint, "i16", DType::i16);
    check_integers<std::int8_t>(checkpoint, "i8", DType::i8);
    check_integers<std::uint8_t>(checkpoint, "u8", DType::u8);
    CHECK(checkpoint.at("boolean").dtype == DType::boolean);
    CHECK(elements<std::uint8_t>(checkpoint.at("boolean")) == std::vector<std::uint8_t>{1, 0, 1});
    CHECK_THROWS_WITH_AS(to_float32(checkpoint.at("i64")), doctest::Contains("\"i64\""), Error);
  }
}

TEST_CASE("torch checkpoint: views become contiguous") {
  for (const char* name : {"views.pth", "views_legacy.pth"}) {
    CAPTURE(name);
    const TorchCheckpoint checkpoint = read(name);
    CHECK(checkpoint.tensors.size() == 9);
    check_tensor(checkpoint, "base", {4, 6}, ramps(24, 6));
    std::vector<float> transposed;
    std::vector<float> columns;
    std::vector<float> expanded;
    std::vector<float> permuted;
    for (std::size_t x = 0; x < 6; ++x) {
      for (std::size_t y = 0; y < 4; ++y) transposed.push_back(ramp(y * 6 + x, 6));
    }
    for (std::size_t y = 0; y < 4; ++y) {
      for (std::size_t x = 1; x < 6; x += 2) columns.push_back(ramp(y * 6 + x, 6));
    }
    for (std::size_t i = 0; i < 6; ++i) expanded.push_back(ramp(6 + i % 3, 6));
    for (std::size_t c = 0; c < 4; ++c) {
      for (std::size_t i = 0; i < 6; ++i) permuted.push_back(ramp(i * 4 + c, 8));
    }
    check_tensor(checkpoint, "transposed", {6, 4}, transposed);
    check_tensor(checkpoint, "columns", {4, 3}, columns);
    check_tensor(checkpoint, "expanded", {2, 3}, expanded);
    check_tensor(checkpoint, "permuted", {4, 2, 3}, permuted);
    check_tensor(checkpoint, "row", {6},
                 {ramp(12, 6), ramp(13, 6), ramp(14, 6), ramp(15, 6), ramp(16, 6), ramp(17, 6)});
    check_tensor(checkpoint, "tail", {3}, {ramp(7, 7), ramp(8, 7), ramp(9, 7)});
    check_tensor(checkpoint, "middle", {2, 2}, {ramp(2, 7), ramp(3, 7), ramp(4, 7), ramp(5, 7)});
    check_tensor(checkpoint, "nothing", {0, 5}, {});
  }
}

TEST_CASE("torch checkpoint: shared storages, metadata and parameters") {
  const TorchCheckpoint shared = read("shared.pth");
  check_tensor(shared, "encoder.embed", {2, 3}, ramps(6, 9));
  check_tensor(shared, "decoder.embed", {2, 3}, ramps(6, 9));

  const TorchCheckpoint module = read("module_metadata.pth");
  CHECK(module.tensors.size() == 7);
  check_tensor(module, "linear.weight", {2, 3}, ramps(6, 4));
  CHECK(module.at("norm.num_batches_tracked").dtype == DType::i64);
  CHECK(module.at("norm.num_batches_tracked").shape.empty());

  const TorchCheckpoint parameters = read("parameters.pth");
  check_tensor(parameters, "weight", {2, 3}, ramps(6, 4));
  check_tensor(parameters, "bias", {2}, ramps(2, 5));
}

TEST_CASE("torch checkpoint: wrappers and prefixes") {
  check_plain(read("wrapped_net.pth"));
  check_plain(read("module_prefix.pth"));
  const TorchCheckpoint wrapped = read("wrapped_state_dict.pth");
  check_plain(wrapped);
  CHECK(wrapped.skipped == std::vector<std::string>{"epoch"});
  const TorchCheckpoint twice = read("wrapped_twice.pth");
  check_plain(twice);
  CHECK(twice.skipped == std::vector<std::string>{"args"});
  const TorchCheckpoint training = read("training.pth");
  check_plain(training);
  CHECK(training.skipped == std::vector<std::string>{"epoch", "best_loss", "loss", "name",
                                                     "history", "shape", "device", "dtype",
                                                     "optimizer"});
  const TorchCheckpoint mixed = read("mixed_prefix.pth");
  CHECK(mixed.contains("module.a"));
  CHECK(mixed.contains("b"));
  CHECK_FALSE(mixed.contains("a"));
  CHECK_THROWS_WITH_AS(mixed.at("a"), doctest::Contains("no tensor \"a\""), Error);
}

TEST_CASE("torch checkpoint: code in it never runs") {
  for (const char* name : {"hostile.pth", "hostile_legacy.pth"}) {
    const Error error = error_of(name);
    CHECK(error.code() == ErrorCode::unsupported);
    CHECK(contains(error.what(), name));
    CHECK(contains(error.what(), ".system`"));
    CHECK(contains(error.what(), "never executes code"));
    CHECK_FALSE(fs::exists("promiseg_was_here"));
  }
}

TEST_CASE("torch checkpoint: messages name the file, what was expected and what came") {
  const struct {
    const char* file;
    ErrorCode code;
    const char* part;
  } cases[] = {
      {"missing_storage.pth", ErrorCode::bad_format, "\"conv.bias\": the archive has no"},
      {"short_storage.pth", ErrorCode::bad_format, "\"conv.weight\": its storage should hold 24"},
      {"big_endian.pth", ErrorCode::unsupported, "byte order is \"big\""},
      {"complex.pth", ErrorCode::unsupported, "ComplexFloatStorage"},
      {"list.pth", ErrorCode::bad_weights, "holds a list"},
      {"no_tensors.pth", ErrorCode::bad_weights, "only: epoch"},
      {"torchscript.pt", ErrorCode::unsupported, "TorchScript"},
      {"wheel_two.whl", ErrorCode::unsupported, "found 2: a.pth, b.pt"},
      {"wheel_none.whl", ErrorCode::unsupported, "this zip has neither"},
      {"no_such_file.pth", ErrorCode::not_found, "no such file"},
      {"../checkpoints", ErrorCode::invalid_argument, "folder"},
  };
  for (const auto& expected : cases) {
    const Error error = error_of(expected.file);
    CAPTURE(std::string(error.what()));
    CHECK(error.code() == expected.code);
    CHECK(contains(error.what(), expected.part));
    CHECK(contains(error.what(), expected.file));
  }
}

TEST_CASE("torch checkpoint: other files") {
  const Error page = error_of_bytes("<!DOCTYPE html><html><body>Sign in</body></html>");
  CHECK(page.code() == ErrorCode::bad_format);
  CHECK(contains(page.what(), "download.pth: expected a checkpoint written by torch.save"));
  CHECK(contains(page.what(), "begins with \"<!DOCTYPE html>"));
  CHECK(contains(page.what(), "web page"));
  CHECK(contains(error_of_bytes({"\x0c\0\0\0\0\0\0\0{\"a\":{}}    ", 21}).what(), "safetensors"));
  CHECK(contains(error_of_bytes("version https://git-lfs.github.com/spec/v1\n").what(), "LFS"));
  CHECK(contains(error_of_bytes("").what(), "is empty"));
  CHECK(contains(error_of_bytes("epoch,loss\n").what(), "begins with \"epoch,loss\\x0a\""));
  CHECK(contains(error_of_bytes("\x80\x02K\x01.").what(), "expected a checkpoint"));
}

TEST_CASE("torch checkpoint: a cut zip is called truncated") {
  const std::string whole = file_bytes(data_file("zip.pth"));
  const Error error = error_of_bytes(std::string_view(whole).substr(0, whole.size() / 2));
  CHECK(error.code() == ErrorCode::bad_format);
  CHECK(contains(error.what(), "download.pth: truncated or damaged checkpoint: "));
}

TEST_CASE("torch checkpoint: a changed weight is noticed by its checksum") {
  std::string bytes = file_bytes(data_file("zip.pth"));
  const std::vector<float> weights = ramps(24, 1);
  const std::string_view pattern(reinterpret_cast<const char*>(weights.data()), 24 * sizeof(float));
  const std::size_t at = bytes.find(pattern);
  REQUIRE(at != std::string::npos);
  bytes[at + 2] = static_cast<char>(bytes[at + 2] ^ 1);
  CHECK(contains(error_of_bytes(bytes).what(), "CRC"));
}

TEST_CASE("torch checkpoint: claims are checked against the data") {
  const auto tensor = [](std::uint64_t offset, std::vector<std::uint64_t> sizes,
                         std::vector<std::uint64_t> strides) {
    return PickleTensor{0, offset, std::move(sizes), std::move(strides)};
  };
  const auto storage = [](std::uint64_t count) {
    return PickleStorage{DType::f32, 0, count, 0, count};
  };
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  using detail::checked_bytes;
  CHECK(checked_bytes(tensor(0, {2, 3}, {3, 1}), storage(6), 24) == 24);
  CHECK(checked_bytes(tensor(0, {2, 3}, {0, 0}), storage(1), 4) == 24);
  CHECK(checked_bytes(tensor(5, {}, {}), storage(6), 24) == 4);
  CHECK(checked_bytes(tensor(kMax, {0, 3}, {kMax, kMax}), storage(0), 0) == 0);
  CHECK(checked_bytes(tensor(0, {1, 3}, {kMax, 1}), storage(3), 12) == 12);
  CHECK_THROWS_AS(checked_bytes(tensor(1, {2, 3}, {3, 1}), storage(6), 24), Error);
  CHECK_THROWS_AS(checked_bytes(tensor(6, {}, {}), storage(6), 24), Error);
  CHECK_THROWS_AS(checked_bytes(tensor(0, {6}, {1}), storage(6), 23), Error);
  CHECK_THROWS_AS(checked_bytes(tensor(0, {6}, {1}), storage(kMax), 24), Error);
  CHECK_THROWS_AS(checked_bytes(tensor(0, {kMax, kMax}, {1, 1}), storage(6), 24), Error);
  CHECK_THROWS_AS(checked_bytes(tensor(0, {kMax}, {0}), storage(6), 24), Error);
  CHECK_THROWS_AS(checked_bytes(tensor(0, {kMax, kMax, 0}, {0, 0, 0}), storage(6), 24), Error);
  CHECK_THROWS_AS(checked_bytes(tensor(0, {3}, {kMax}), storage(6), 24), Error);
  CHECK_THROWS_AS(checked_bytes(tensor(kMax, {3}, {kMax}), storage(6), 24), Error);

  const std::vector<float> values = ramps(6, 1);
  const PickleStorage part{DType::f32, 0, 6, 2, 3};
  const CheckpointTensor tail{
      "tail",
      DType::f32,
      {2},
      detail::gather(tensor(1, {2}, {1}), part, std::as_bytes(std::span(values)))};
  CHECK(to_float32(tail) == std::vector<float>{values[3], values[4]});
  CHECK_THROWS_AS(checked_bytes(tensor(1, {3}, {1}), part, 24), Error);

  detail::ByteBudget budget(1000);
  budget.charge(std::uint64_t{256} << 20, "a");
  budget.charge(32'000, "b");
  CHECK_THROWS_WITH_AS(budget.charge(1, "tensor \"c\""), doctest::Contains("tensor \"c\""), Error);
}

TEST_CASE("torch checkpoint: a repeated element cannot unfold without bound") {
  std::string bytes = file_bytes(data_file("legacy.pth"));
  // The bias: sizes (2,), strides (1,) become (2^31 - 1,), (0,).
  const std::string shape = "K\x02\x85";
  const std::size_t at = bytes.find(shape);
  REQUIRE(at != std::string::npos);
  const std::size_t stride = bytes.find("K\x01\x85", at);
  REQUIRE(stride != std::string::npos);
  bytes[stride + 1] = '\0';
  bytes.replace(at, 2, "J\xff\xff\xff\x7f");
  const Error error = error_of_bytes(bytes);
  CHECK(error.code() == ErrorCode::unsupported);
  CHECK(contains(error.what(), "\"conv.bias\""));
  CHECK(contains(error.what(), "may unfold to"));
}

TEST_CASE("torch checkpoint: a name or a member given twice") {
  std::string bytes = file_bytes(data_file("legacy.pth"));
  const std::size_t at = bytes.find("conv.bias");
  REQUIRE(at != std::string::npos);
  // "scale" cannot take the longer name, so the weight takes the bias's: X <length> text.
  const std::size_t weight = bytes.find("conv.weight");
  REQUIRE(weight != std::string::npos);
  bytes.replace(weight - 4, 4 + 11, std::string("\x09\0\0\0conv.bias", 13));
  CHECK(contains(error_of_bytes(bytes).what(), "two tensors are named \"conv.bias\""));

  std::string zip = file_bytes(data_file("zip.pth"));
  for (std::size_t from = 0; (from = zip.find("zip/data/1", from)) != std::string::npos; ++from) {
    zip[from + 9] = '0';
  }
  CHECK(contains(error_of_bytes(zip).what(), "twice"));
}

TEST_CASE("torch checkpoint: any truncation or changed byte gives an error or weights") {
  for (const char* name : {"zip.pth", "legacy.pth", "deflated.pth", "wheel.whl"}) {
    CAPTURE(name);
    const std::string whole = file_bytes(data_file(name));
    const auto survives = [](std::string_view bytes) {
      try {
        return !parse_torch_checkpoint(std::as_bytes(std::span(bytes)), "x").tensors.empty();
      } catch (const Error&) {
        return false;
      }
    };
    CHECK(survives(whole));
    std::size_t accepted = 0;
    for (std::size_t size = 0; size < whole.size(); ++size) {
      accepted += survives(std::string_view(whole).substr(0, size)) ? 1 : 0;
    }
    CHECK(accepted == 0);
    std::mt19937 random(11);
    for (int round = 0; round < 3000; ++round) {
      std::string changed = whole;
      changed[random() % changed.size()] ^= static_cast<char>(1 << (random() % 8));
      survives(changed);
    }
  }
}

TEST_CASE("torch checkpoint: a whole small model") {
  const TorchCheckpoint model =
      read_torch_checkpoint(fs::path(PROMISEG_TEST_DATA) / "fixtures" / "sam_tiny_weights.pth");
  CHECK(model.tensors.size() == 202);
  CHECK(model.tensors.front().name == "image_encoder.pos_embed");
  CHECK(model.skipped.empty());
  for (const CheckpointTensor& tensor : model.tensors) {
    std::size_t count = size_of(tensor.dtype);
    for (Index extent : tensor.shape) count *= static_cast<std::size_t>(extent);
    CHECK(tensor.bytes.size() == count);
  }
}

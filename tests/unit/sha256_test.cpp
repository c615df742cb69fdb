#include "sha256.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <utility>

#include "promiseg/core/tensor.hpp"
#include "temporary_folder.hpp"

using namespace promiseg;
using namespace promiseg::tools;
using promiseg_test::TemporaryFolder;

namespace {

TensorEntry entry_of(TensorView<const float, 2> view) {
  return {DType::f32,
          {view.extent(0), view.extent(1)},
          {reinterpret_cast<const std::byte*>(view.data()),
           static_cast<std::size_t>(view.size()) * sizeof(float)}};
}

}  // namespace

TEST_CASE("SHA-256 of the standard's examples") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST_CASE("a hash fed in pieces equals that of the whole, and can be used again") {
  Sha256 hash;
  hash.update("ab");
  hash.update("");
  hash.update("c");
  CHECK(hash.finish() == sha256("abc"));
  CHECK(hash.finish() == sha256(""));
  Sha256 moved = std::move(hash);
  moved.update("abc");
  CHECK(moved.finish() == sha256("abc"));
}

TEST_CASE("a file longer than the read buffer") {
  const TemporaryFolder folder;
  const std::string million(1000000, 'a');
  promiseg_test::write_bytes(folder / "million", million);
  CHECK(sha256_of_file(folder / "million") ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  const std::string longer = million + million + million;
  promiseg_test::write_bytes(folder / "longer", longer);
  CHECK(sha256_of_file(folder / "longer") == sha256(longer));
  promiseg_test::write_bytes(folder / "empty", {});
  CHECK(sha256_of_file(folder / "empty") == sha256(""));
  CHECK_THROWS_WITH_AS(sha256_of_file(folder / "absent"), doctest::Contains("absent"), Error);
  CHECK_THROWS_AS(sha256_of_file(folder.path()), Error);
}

TEST_CASE("weights_sha256 is what its documentation says") {
  Tensor<float, 2> values({2, 1});
  values.view()(0, 0) = 1.0F;
  values.view()(1, 0) = -2.0F;
  const std::int64_t seven = 7;
  TensorEntries tensors;
  tensors["b.c"] = {DType::i64, {}, std::as_bytes(std::span(&seven, 1))};
  tensors["a"] = entry_of(values.view());
  // Computed with Python's hashlib from the documented stream.
  CHECK(weights_sha256(tensors) ==
        "9176968266bc4b8abf6eb15650dd7e6e1b24fec822c6dd8cbf826ce8a18ef3ad");
}

TEST_CASE("weights_sha256 tells names, types, shapes and values apart") {
  Tensor<float, 2> values({2, 3});
  TensorEntry entry = entry_of(values.view());
  const std::string original = weights_sha256({{"a", entry}});
  CHECK(weights_sha256({{"b", entry}}) != original);
  entry.shape = {3, 2};
  CHECK(weights_sha256({{"a", entry}}) != original);
  entry.shape = {2, 3};
  entry.dtype = DType::i32;
  CHECK(weights_sha256({{"a", entry}}) != original);
  entry.dtype = DType::f32;
  CHECK(weights_sha256({{"a", entry}}) == original);
  values.view()(1, 2) = 1.0F;
  CHECK(weights_sha256({{"a", entry}}) != original);
}

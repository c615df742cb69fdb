// promiseg segment: slices of NIfTI volumes.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "command_fixture.hpp"
#include "nifti_files.hpp"
#include "promiseg/io/nifti.hpp"

using namespace promiseg_test;
using promiseg::Image;
using promiseg::Index;
using promiseg::Json;
namespace fs = std::filesystem;

namespace {

// Three axial slices of 60 x 40 pixels, the second one the fixture's picture.
NiftiFile volume() {
  NiftiFile file;
  file.dim = {3, 60, 40, 3, 1, 1, 1, 1};
  std::vector<std::uint8_t> voxels(60 * 40, 10);
  const Image picture = CommandFixture::picture(40, 60);
  voxels.insert(voxels.end(), picture.elements().begin(), picture.elements().end());
  voxels.resize(3 * 60 * 40, 20);
  file.set_voxels(2, voxels);
  return file;
}

}  // namespace

TEST_CASE("segment: a slice of a volume, like the same pixels from a picture") {
  const CommandFixture fixture;
  volume().save(fixture / "x.nii");
  const std::string slice = (fixture / "x.nii").string() + "#axial=1";
  const Json json = run_json(
      {"segment", slice, "--model", fixture.model(), "--box", "10,5,40,35", "-o", fixture / "out"});
  const Json& record = json.at("images").as_array().front();
  CHECK(record.at("image").as_string() == slice);
  CHECK(record.at("mask").as_string() == (fixture / "out/x_axial1_mask.png").string());
  CHECK(files_below(fixture / "out") ==
        std::set<std::string>{fixture / "out/x_axial1.json", fixture / "out/x_axial1_mask.png",
                              fixture / "out/x_axial1_overlay.png"});
  CHECK(read_mask(fixture / "out/x_axial1_mask.png").extents() == promiseg::Extents<3>{40, 60, 1});

  const promiseg::ImageReference reference(fixture / "x.nii",
                                           promiseg::Slice{promiseg::SliceAxis::axial, 1});
  promiseg::write_png(fixture.image(), promiseg::to_8bit(promiseg::read_nifti(reference)));
  const Json same = fixture.segment("same", {"--box", "10,5,40,35"});
  CHECK(read_bytes(same.at("mask").as_string()) == read_bytes(record.at("mask").as_string()));
}

TEST_CASE("segment: several slices of one volume, beside whole pictures") {
  const CommandFixture fixture;
  write_gzip(fixture / "x.nii.gz", volume().bytes());
  const std::string path = fixture / "x.nii.gz";
  const Json json =
      run_json({"segment", path + "#axial=0", path + "#coronal=20", fixture.image(), "--model",
                fixture.model(), "--box", "1,1,30,2", "-o", fixture / "out"});
  CHECK(json.at("images").as_array().size() == 3);
  CHECK(read_mask(fixture / "out/x_axial0_mask.png").extents() == promiseg::Extents<3>{40, 60, 1});
  CHECK(read_mask(fixture / "out/x_coronal20_mask.png").extents() ==
        promiseg::Extents<3>{3, 60, 1});
}

TEST_CASE("segment: slices that are not named, not there, or named twice") {
  const CommandFixture fixture;
  volume().save(fixture / "x.nii");
  const std::string path = fixture / "x.nii";
  const auto complain = [&](const std::vector<std::string>& images, const char* about) {
    std::vector<std::string> arguments{"segment",  "--model", fixture.model(), "--box",
                                       "1,1,30,2", "-o",      fixture / "out"};
    arguments.insert(arguments.end(), images.begin(), images.end());
    const CommandResult result = run_promiseg(arguments);
    check_complaint(result, 1);
    CHECK(result.err.find(about) != std::string::npos);
  };
  complain({path}, "3 axial, 40 coronal and 60 sagittal slices");
  complain({path + "#axial=3"}, "the volume has 3");
  complain({path + "#axial"}, "expected a slice");
  complain({path + "x#axial=0"}, "no such file");
  complain({path + "#axial=0", path + "#axial=0,volume=0"}, "would write the same results");
  complain({fixture.image() + "#axial=0"}, "only NIfTI volumes");
}

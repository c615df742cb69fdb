# Libraries behind the optional headers of include/promiseg/io.
find_package(PNG REQUIRED)
find_package(JPEG REQUIRED)
find_package(TIFF REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBZIP REQUIRED IMPORTED_TARGET libzip)

add_library(promiseg_image_files INTERFACE)  # io/image_file.hpp
add_library(promiseg::image_files ALIAS promiseg_image_files)
target_link_libraries(promiseg_image_files
  INTERFACE promiseg::promiseg PNG::PNG JPEG::JPEG TIFF::TIFF)

add_library(promiseg_dicom INTERFACE)  # io/dicom.hpp
add_library(promiseg::dicom ALIAS promiseg_dicom)
foreach(library dcmjpeg dcmjpls dcmimage dcmimgle dcmdata oflog ofstd)
  find_library(DCMTK_${library}_LIBRARY ${library} REQUIRED)
  target_link_libraries(promiseg_dicom INTERFACE ${DCMTK_${library}_LIBRARY})
endforeach()
target_link_libraries(promiseg_dicom INTERFACE promiseg::image_files)

add_library(promiseg_nifti INTERFACE)  # io/nifti.hpp
add_library(promiseg::nifti ALIAS promiseg_nifti)
find_path(NIFTI2_INCLUDE_DIR nifti2_io.h PATH_SUFFIXES nifti REQUIRED)
find_library(NIFTI2_LIBRARY nifti2 REQUIRED)
target_include_directories(promiseg_nifti SYSTEM INTERFACE ${NIFTI2_INCLUDE_DIR})
target_link_libraries(promiseg_nifti
  INTERFACE promiseg::promiseg ${NIFTI2_LIBRARY} ZLIB::ZLIB)

add_library(promiseg_image_reader INTERFACE)  # io/image_reader.hpp and io/mask_reader.hpp
add_library(promiseg::image_reader ALIAS promiseg_image_reader)
target_link_libraries(promiseg_image_reader INTERFACE promiseg::dicom promiseg::nifti)

add_library(promiseg_checkpoints INTERFACE)  # io/torch_checkpoint.hpp
add_library(promiseg::checkpoints ALIAS promiseg_checkpoints)
target_link_libraries(promiseg_checkpoints INTERFACE promiseg::promiseg PkgConfig::LIBZIP)
